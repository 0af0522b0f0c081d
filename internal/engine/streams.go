package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/abode-run/abode/internal/agent"
)

// Streams are a client's hold on the streams of a process, which need not run
// yet. Serve or Close must be called once.
type Streams struct {
	TTY bool

	e     *Engine
	stdin bool
	// before shows what was written earlier, when that was asked for.
	before func(ctx context.Context, emit func(stream byte, p []byte) error) error
	// live says that there is, or will be, something beside that.
	live bool
	// gone forgets the streams where they are registered.
	gone func()
	// exited is told how the process has ended; over comes when the streams
	// end, whether or not that was told.
	exited func(agent.Exit)
	over   func()

	once   sync.Once
	ready  chan struct{} // closed when the following are set
	conn   net.Conn      // nil: nothing will come
	cancel context.CancelFunc
	err    error
}

func newStreams(e *Engine, tty bool) *Streams {
	return &Streams{TTY: tty, e: e, live: true, gone: func() {}, exited: func(agent.Exit) {}, over: func() {}, ready: make(chan struct{})}
}

// connect joins the streams to a process's, from now on.
func (s *Streams) connect(ctx context.Context, client *agent.Client, at agent.ProcessRequest, to agent.AttachStreams) error {
	err := s.open(ctx, client, agent.MethodAttach, agent.AttachRequest{ProcessRequest: at, AttachStreams: to}, nil)
	if err != nil {
		s.fail(err)
	}
	return err
}

// begin starts a process and joins the streams to it from its first byte on.
// When it cannot be started there is nothing to be seen.
func (s *Streams) begin(ctx context.Context, client *agent.Client, req agent.StartRequest, to agent.AttachStreams) (started agent.ProcessResponse, err error) {
	req.Attach = &to
	if err = s.open(ctx, client, agent.MethodStart, &req, &started); err != nil {
		s.fail(nil)
	}
	return started, err
}

// open makes the call whose stream it is.
func (s *Streams) open(ctx context.Context, client *agent.Client, method string, req, resp any) error {
	// ctx bounds the call; the stream lives until cancel or the engine's end.
	live, cancel := context.WithCancel(s.e.ctx)
	stop := context.AfterFunc(ctx, cancel)
	conn, err := client.Stream(live, method, req, resp)
	if err == nil && !stop() {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return err
	}
	used := false
	s.once.Do(func() {
		s.conn, s.cancel, used = conn, cancel, true
		close(s.ready)
	})
	if !used {
		cancel()
	}
	return nil
}

// fail ends streams that are not connected. A nil error says that there is
// nothing to be seen.
func (s *Streams) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ready)
	})
}

// Close gives the streams up. The process goes on.
func (s *Streams) Close() error {
	s.gone()
	defer s.over()
	s.fail(nil)
	<-s.ready
	if s.conn != nil {
		s.cancel()
		s.conn.Close()
	}
	return nil
}

// hangUp says that the client has gone, and leaves what is still to come to be
// read. The process may be one that ends then.
func (s *Streams) hangUp() {
	<-s.ready
	if cw, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // a stream that is closed has no other side
	}
}

// Serve copies both ways until the process's output has ended, ctx ends or the
// client can take no more. What the client sends is the process's standard
// input, if that was asked for, and its end that input's end. Framed output
// has Docker's header before each part: a byte of stream, three of zero, four
// of big-endian length. Serve does not close conn, and may leave a Read of it
// pending.
func (s *Streams) Serve(ctx context.Context, conn io.ReadWriteCloser, framed bool) error {
	defer s.Close()
	out := &output{w: conn, framed: framed}
	if s.before != nil {
		if err := s.before(ctx, out.write); err != nil {
			return err
		}
	}
	if !s.live {
		return out.end()
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.e.ctx.Done():
		return errors.New("the daemon stops")
	}
	if s.err != nil || s.conn == nil {
		return s.err
	}
	defer context.AfterFunc(ctx, s.cancel)()
	if s.stdin {
		go s.input(ctx, conn)
	}
	buf := make([]byte, agent.MaxIO)
	for {
		kind, p, err := agent.ReadIO(s.conn, buf)
		switch {
		case errors.Is(err, io.EOF):
			s.over()
			return out.end()
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("cannot read the output: %w", err)
		case kind == agent.IOExit:
			var exit agent.Exit
			if json.Unmarshal(p, &exit) == nil {
				s.exited(exit)
			}
			continue
		case kind != agent.IOStdout && kind != agent.IOStderr:
			continue
		}
		if err := out.write(kind, p); err != nil {
			return err
		}
	}
}

// input copies the client's input until it ends or the streams do.
func (s *Streams) input(ctx context.Context, conn io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if werr := agent.WriteIO(s.conn, agent.IOStdin, buf[:n]); werr != nil {
				return
			}
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && ctx.Err() == nil {
			_ = agent.WriteIO(s.conn, agent.IOStdinClose, nil)
		}
		return
	}
}

// output writes to a client.
type output struct {
	w      io.Writer
	framed bool
	buf    []byte
}

func (o *output) write(stream byte, p []byte) error {
	if o.framed {
		o.buf = append(o.buf[:0], stream, 0, 0, 0)
		o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(len(p)))
		p = append(o.buf, p...)
		o.buf = p
	}
	_, err := o.w.Write(p)
	return err
}

// end tells the client that no more will come.
func (o *output) end() error {
	if cw, ok := o.w.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // it may have hung up
	}
	return nil
}
