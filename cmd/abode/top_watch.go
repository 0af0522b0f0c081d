package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/moby/term"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/cli/stream"
)

// watchTop keeps the list up to date on a terminal until q, an interrupt, or
// the end of the engine.
func (a *app) watchTop(ctx context.Context, c *client.Client, order topOrder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := make(chan byte)
	if stream.IsTerminal(a.in) {
		restore, err := stream.Raw(a.in, a.out)
		if err != nil {
			return err
		}
		defer restore()
		go readKeys(ctx, a.in, keys)
	}
	// The other screen, without a cursor and with lines cut at the edge.
	if _, err := io.WriteString(a.out, "\x1b[?1049h\x1b[?25l\x1b[?7l"); err != nil {
		return err
	}
	defer fmt.Fprint(a.out, "\x1b[?7h\x1b[?25h\x1b[?1049l")
	b := newBoard()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	soon := time.After(0)
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return nil
		case k := <-keys:
			switch k {
			case 'q', 'Q', 3, 4: // ctrl-c, ctrl-d
				return nil
			case 'c':
				order = "cpu"
			case 'm':
				order = "memory"
			case 'n':
				order = "name"
			default:
				continue
			}
		case <-soon:
		case <-tick.C:
		}
		ids, err := containersFor(ctx, c, false)
		if err != nil {
			return err
		}
		b.follow(ctx, c, ids, true)
		if first {
			soon = time.After(300 * time.Millisecond) // the first figures are there then
		}
		rows := topRows(b.snapshot())
		order.sort(rows)
		if err := drawTop(a.out, rows, order); err != nil {
			return err
		}
	}
}

// drawTop writes one screen: as many rows as it has lines.
func drawTop(out *os.File, rows []topRow, order topOrder) error {
	var text bytes.Buffer
	text.WriteString(topSummary(rows, order) + "\n\n")
	if size, err := term.GetWinsize(out.Fd()); err == nil && size.Height > 4 {
		rows = rows[:min(len(rows), int(size.Height)-4)]
	}
	if err := format.Write(&text, "", topTable, topHeaders, rows); err != nil {
		return err
	}
	// In a raw terminal a newline does not go back to the beginning of the line.
	screen := "\x1b[H" + strings.ReplaceAll(text.String(), "\n", "\x1b[K\r\n") + "\x1b[J"
	_, err := io.WriteString(out, screen)
	return err
}

// readKeys hands over what is typed. The end of the input is no key.
func readKeys(ctx context.Context, in io.Reader, keys chan<- byte) {
	one := make([]byte, 1)
	for {
		if n, err := in.Read(one); n == 0 || err != nil {
			return
		}
		select {
		case keys <- one[0]:
		case <-ctx.Done():
			return
		}
	}
}
