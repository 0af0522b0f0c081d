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

// undo holds what puts terminals back, so that every way out of the program
// can do it.
var undo struct {
	sync.Mutex
	next int
	do   map[int]func()
}

// OnExit has restore called once: by the function it returns, or by
// RestoreAll, whichever comes first.
func OnExit(restore func()) func() {
	undo.Lock()
	defer undo.Unlock()
	if undo.do == nil {
		undo.do = map[int]func(){}
	}
	n := undo.next
	undo.next++
	undo.do[n] = restore
	return func() {
		undo.Lock()
		defer undo.Unlock()
		if do, ok := undo.do[n]; ok {
			delete(undo.do, n)
			do()
		}
	}
}

// RestoreAll puts every terminal that was changed back. Safe for concurrent
// use; harmless when there is none.
func RestoreAll() {
	undo.Lock()
	defer undo.Unlock()
	for n, do := range undo.do {
		delete(undo.do, n)
		do()
	}
}

// Raw puts the terminal in into raw mode, and out into the mode in which
// it prints what it is sent. It returns what puts both back, which may be
// called more than once. Files that are no terminals are left alone.
func Raw(in, out *os.File) (restore func(), err error) {
	undoIn, err := change(in, term.SetRawTerminal)
	if err != nil {
		return nil, err
	}
	undoOut, err := change(out, term.SetRawTerminalOutput)
	if err != nil {
		undoIn()
		return nil, err
	}
	return func() { undoOut(); undoIn() }, nil
}

func change(f *os.File, set func(uintptr) (*term.State, error)) (restore func(), err error) {
	if f == nil || !IsTerminal(f) {
		return func() {}, nil
	}
	fd := f.Fd()
	old, err := set(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot put the terminal into raw mode: %w", err)
	}
	if old == nil {
		return func() {}, nil
	}
	return OnExit(func() { _ = term.RestoreTerminal(fd, old) }), nil
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
