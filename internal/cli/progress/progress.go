// Package progress shows what the engine reports while it pulls, loads or
// imports an image: a line with a bar for each layer on a terminal, and
// Docker's plain lines elsewhere.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client/pkg/jsonmessage"
	"github.com/moby/term"
)

// Messages decodes a stream of JSON messages. A stream that breaks yields
// the error last.
func Messages(r io.Reader) iter.Seq2[jsonstream.Message, error] {
	return func(yield func(jsonstream.Message, error) bool) {
		d := json.NewDecoder(r)
		for {
			var m jsonstream.Message
			err := d.Decode(&m)
			if errors.Is(err, io.EOF) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Show prints messages to out until they end. It returns the engine's error
// when one of them carries it. Out-of-band data goes to aux, if not nil.
func Show(messages iter.Seq2[jsonstream.Message, error], out io.Writer, aux func(json.RawMessage)) error {
	var show shower = plain{out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(f.Fd()) {
		show = newBars(f)
	}
	for m, err := range messages {
		switch {
		case err != nil:
			show.end()
			return fmt.Errorf("cannot read the engine's progress: %w", err)
		case m.Error != nil:
			show.end()
			return m.Error
		case m.Aux != nil:
			if aux != nil {
				aux(*m.Aux)
			}
		default:
			show.message(m)
		}
	}
	show.end()
	return nil
}

// shower shows one message after the other; end comes last.
type shower interface {
	message(jsonstream.Message)
	end()
}

type plain struct{ out io.Writer }

func (p plain) message(m jsonstream.Message) {
	_ = jsonmessage.Display(m, p.out, false, 0)
}

func (plain) end() {}
