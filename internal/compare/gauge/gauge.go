// Package gauge is the part of a comparison that runs inside of the containers:
// the engine's program itself, copied there, so that the image needs nothing.
// It answers each line on its standard input with a line of JSON.
package gauge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Questions that Serve answers.
const (
	Files  = "files"  // with names: what these files hold, as Text
	Write  = "write"  // a new file from its beginning: bytes per second, written and synced
	Read   = "read"   // that file from its beginning: bytes per second
	Random = "random" // blocks of it at random places: blocks per second
	Sync   = "sync"   // a block that is written and synced: the median of the seconds it takes
	Listen = "listen" // with a secret: the Port on which connections that know it are served
)

// Reply is an answer. Whoever reads it knows that it is a stranger's.
type Reply struct {
	Value float64 `json:"value,omitempty"`
	Port  int     `json:"port,omitempty"`
	Text  string  `json:"text,omitempty"`
	Error string  `json:"error,omitempty"`
}

// MostReply is how long a line of an answer may be.
const MostReply = 64 << 10

// Serve answers until in ends. What it writes to disk is one file in dir.
func Serve(dir string, in io.Reader, out io.Writer) error {
	d := disk{name: dir + "/data"}
	defer d.remove()
	answers := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		r, err := answer(&d, words[0], words[1:])
		if err != nil {
			r.Error = err.Error()
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

func answer(d *disk, question string, args []string) (r Reply, err error) {
	switch question {
	case Files:
		r.Text, err = files(args)
	case Write:
		r.Value, err = d.write()
	case Read:
		r.Value, err = d.read()
	case Random:
		r.Value, err = d.random()
	case Sync:
		r.Value, err = d.sync()
	case Listen:
		if len(args) != 1 || len(args[0]) != SecretLength {
			return r, fmt.Errorf("a secret has %d characters", SecretLength)
		}
		r.Port, err = listen(args[0])
	default:
		err = errors.New("unknown question " + question)
	}
	return r, err
}

func files(names []string) (string, error) {
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if all.Len()+len(b) > MostReply/8 { // a byte may take six in JSON
			return "", errors.New("too much to tell: " + name)
		}
		all.Write(b)
	}
	return all.String(), nil
}
