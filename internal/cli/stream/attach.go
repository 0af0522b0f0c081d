package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/term"
)

// DefaultDetachKeys leave a container running behind a terminal.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ErrDetached tells that the user typed the detach keys.
var ErrDetached = errors.New("detached")

// Conn is an attached connection: what client.HijackedResponse offers.
type Conn interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
}

// Attachment says how to connect the caller's files to a connection. A nil
// file is not connected.
type Attachment struct {
	In         *os.File
	Out, Err   io.Writer
	TTY        bool   // one stream, unframed; In goes raw when it is a terminal
	DetachKeys string // "" for DefaultDetachKeys; heeded when In is a terminal and TTY is set
}

// Run copies until the output ends, ctx is done, or the user detaches
// (ErrDetached). The end of In closes the connection for writing. Whether it
// fails or not, the terminal is put back and conn closed when it returns;
// a read of In may still wait then.
func (a Attachment) Run(ctx context.Context, conn Conn) error {
	defer conn.Close()
	in := io.Reader(nil)
	if a.In != nil {
		in = a.In
	}
	if a.TTY && a.In != nil && IsTerminal(a.In) {
		keys, err := DetachKeys(a.DetachKeys)
		if err != nil {
			return err
		}
		out, _ := a.Out.(*os.File)
		restore, err := Raw(a.In, out)
		if err != nil {
			return err
		}
		defer restore()
		in = term.NewEscapeProxy(a.In, keys)
	}
	input, output := make(chan error, 1), make(chan error, 1)
	if in != nil {
		go func() { input <- copyIn(conn, in) }()
	}
	if a.Out != nil || a.Err != nil {
		go func() { output <- a.copyOut(conn) }()
	} else if in == nil {
		return nil
	}
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, ErrDetached) {
				return err
			}
			if a.Out == nil && a.Err == nil {
				return err
			}
			// An error of the input alone is shown by what the container
			// does with it: its output is worth more.
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func copyIn(conn Conn, in io.Reader) error {
	_, err := io.Copy(conn, in)
	var escape term.EscapeError
	if errors.As(err, &escape) {
		return ErrDetached
	}
	if cerr := conn.CloseWrite(); err == nil {
		err = cerr
	}
	return err
}

func (a Attachment) copyOut(conn Conn) error {
	out, errOut := a.Out, a.Err
	if out == nil {
		out = io.Discard
	}
	if errOut == nil {
		errOut = io.Discard
	}
	var err error
	if a.TTY {
		_, err = io.Copy(out, conn)
	} else {
		_, err = stdcopy.StdCopy(out, errOut, conn)
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// DetachKeys reads a sequence such as ctrl-p,ctrl-q; "" is the default.
func DetachKeys(keys string) ([]byte, error) {
	if keys == "" {
		keys = DefaultDetachKeys
	}
	b, err := term.ToBytes(keys)
	if err != nil {
		return nil, fmt.Errorf("invalid detach keys %q: %w; an example: ctrl-p,ctrl-q", keys, err)
	}
	return b, nil
}
