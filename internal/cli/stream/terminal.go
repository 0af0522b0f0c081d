// Package stream connects the caller's terminal or files to a container's
// streams: raw mode, detach keys, window size, signals.
package stream

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/moby/term"
	"golang.org/x/sys/unix"
)

// IsTerminal tells whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(f.Fd()) }

// Size is the size of the terminal f, zero when it has none.
func Size(f *os.File) (height, width uint) {
	ws, err := term.GetWinsize(f.Fd())
	if err != nil {
		return 0, 0
	}
	return uint(ws.Height), uint(ws.Width)
}

// terminals are those in raw mode, so that every way out of the program can
// put them back.
var terminals struct {
	sync.Mutex
	states map[uintptr]*term.State
}

// Raw puts the terminal in into raw mode, and out into the mode in which
// it prints what it is sent. It returns what puts both back, which may be
// called more than once. Files that are no terminals are left alone.
func Raw(in, out *os.File) (restore func(), err error) {
	if in != nil && IsTerminal(in) {
		old, err := term.SetRawTerminal(in.Fd())
		if err != nil {
			return nil, fmt.Errorf("cannot put the terminal into raw mode: %w", err)
		}
		remember(in.Fd(), old)
	}
	if out != nil && IsTerminal(out) {
		old, err := term.SetRawTerminalOutput(out.Fd())
		if err != nil {
			RestoreAll()
			return nil, fmt.Errorf("cannot put the terminal into raw mode: %w", err)
		}
		remember(out.Fd(), old)
	}
	return RestoreAll, nil
}

func remember(fd uintptr, s *term.State) {
	if s == nil {
		return
	}
	terminals.Lock()
	defer terminals.Unlock()
	if terminals.states == nil {
		terminals.states = map[uintptr]*term.State{}
	}
	if _, ok := terminals.states[fd]; !ok {
		terminals.states[fd] = s
	}
}

// RestoreAll puts every terminal that Raw changed back. Safe for concurrent
// use; harmless when there is none.
func RestoreAll() {
	terminals.Lock()
	defer terminals.Unlock()
	for fd, s := range terminals.states {
		_ = term.RestoreTerminal(fd, s)
	}
	terminals.states = nil
}

// Resizes calls resize with the size of the terminal f now and whenever it
// changes, until stop is called. The first call is repeated for a while as
// long as it fails, because the container may not run yet.
func Resizes(f *os.File, resize func(height, width uint) error) (stop func()) {
	if f == nil || !IsTerminal(f) {
		return func() {}
	}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, unix.SIGWINCH)
	done := make(chan struct{})
	send := func() error {
		h, w := Size(f)
		if h == 0 && w == 0 {
			return nil
		}
		return resize(h, w)
	}
	go func() {
		for try := time.Duration(1); send() != nil && try <= 10; try++ {
			select {
			case <-done:
				return
			case <-time.After(try * 10 * time.Millisecond):
			}
		}
		for {
			select {
			case <-done:
				return
			case <-winch:
				_ = send()
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(winch)
		close(done)
	})
}
