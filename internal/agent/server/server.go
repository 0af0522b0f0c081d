// Package server is the agent's side of the agent protocol. It serves any
// number of channels; what it serves belongs to the process, not to a session.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/abode-run/abode/internal/agent"
)

// Server answers the calls of daemons. Its methods may be called concurrently.
type Server struct {
	log     *slog.Logger
	methods map[string]method
	done    func()
}

// A method answers one call. It writes its response itself with c.answer, or
// returns an error before it has written one.
type method func(c *call) error

// New returns a server of cfg's methods.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Done == nil {
		cfg.Done = func() {}
	}
	s := &Server{log: cfg.Log, methods: map[string]method{}, done: cfg.Done}
	s.register(cfg)
	return s
}

// ServeChannel serves the one session that begins on rw: it waits for the
// greeting, answers calls until the session ends, and returns then. It closes
// rw. Calls under way are cancelled; containers are not touched. The error is
// nil when the other side ended the session.
func (s *Server) ServeChannel(ctx context.Context, rw io.ReadWriteCloser) error {
	session, err := agent.Accept(ctx, rw)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return nil // the session's end is no failure of this side
		}
		go s.serve(ctx, stream)
	}
}

// call is one call under way.
type call struct {
	ctx    context.Context
	cancel context.CancelFunc
	method string
	body   []byte
	blob   []byte
	stream *yamux.Stream

	answered bool
}

// requestTimeout bounds how long a stream may stay open without its request.
const requestTimeout = time.Minute

func (s *Server) serve(ctx context.Context, stream *yamux.Stream) {
	defer s.done()
	defer stream.Close()
	stream.SetReadDeadline(time.Now().Add(requestTimeout))
	var req agent.Request
	if err := agent.ReadFrame(stream, &req); err != nil {
		return
	}
	stream.SetReadDeadline(time.Time{})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &call{ctx: ctx, cancel: cancel, method: req.Method, body: req.Body, blob: req.Blob, stream: stream}
	m, ok := s.methods[req.Method]
	var err error
	if !ok {
		err = &agent.Error{Class: agent.ClassInvalid, Message: fmt.Sprintf("this agent has no method %q", req.Method)}
	} else {
		err = m(c)
	}
	if err == nil {
		return
	}
	if c.answered {
		s.log.Debug("a call broke off", "method", req.Method, "error", err)
		return
	}
	s.log.Debug("a call failed", "method", req.Method, "error", err)
	_ = agent.WriteFrame(stream, &agent.Response{Error: asError(err)}) // fails when the caller has gone
}

// asError gives err a class.
func asError(err error) *agent.Error {
	var e *agent.Error
	if errors.As(err, &e) {
		return &agent.Error{Class: e.Class, Message: err.Error()}
	}
	return &agent.Error{Class: agent.ClassInternal, Message: err.Error()}
}

// decode reads the request's body.
func (c *call) decode(req any) error {
	if len(c.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, req); err != nil {
		return &agent.Error{Class: agent.ClassInvalid, Message: fmt.Sprintf("cannot read the request %s: %v", c.method, err)}
	}
	if b, ok := req.(agent.Blobber); ok && len(c.blob) > 0 {
		*b.Blob() = c.blob
	}
	return nil
}

// answer writes the response.
func (c *call) answer(resp any) error {
	body, err := json.Marshal(resp)
	if err != nil {
		return fmt.Errorf("cannot encode the response to %s: %w", c.method, err)
	}
	c.answered = true
	return agent.WriteFrame(c.stream, &agent.Response{Body: body})
}

// shut ends a stream of I/O frames: whoever still reads them or waits for
// room to write them stops. A call that was not answered yet still can be.
func (c *call) shut() {
	if c.answered {
		c.stream.Close()
		c.stream.SetDeadline(time.Unix(1, 0))
	}
}

// watch cancels the call when the caller closes the stream. It must be the
// stream's only reader.
func (c *call) watch() {
	go func() {
		_, _ = io.Copy(io.Discard, c.stream)
		c.cancel()
	}()
}

// listen is watch for a call that reads the stream later: what it then reads is
// whole. The call is cancelled when the caller closes before it sends anything.
func (c *call) listen() io.ReadWriter {
	e := &early{Stream: c.stream, heard: make(chan struct{})}
	go func() {
		e.n, e.err = c.stream.Read(e.first[:])
		close(e.heard)
		if e.err != nil {
			c.cancel()
		}
	}()
	return e
}

// early is a stream of which one byte is read ahead.
type early struct {
	*yamux.Stream
	heard chan struct{} // closed when the following are set
	first [1]byte
	n     int
	err   error
}

func (e *early) Read(p []byte) (int, error) {
	<-e.heard
	if e.n > 0 && len(p) > 0 {
		e.n = 0
		return copy(p, e.first[:]), nil
	}
	if e.err != nil {
		return 0, e.err
	}
	return e.Stream.Read(p)
}

// unary adapts a function from request to response.
func unary[Req, Resp any](f func(ctx context.Context, req *Req) (Resp, error)) method {
	return func(c *call) error {
		var req Req
		if err := c.decode(&req); err != nil {
			return err
		}
		c.watch()
		resp, err := f(c.ctx, &req)
		if err != nil {
			return err
		}
		return c.answer(resp)
	}
}

// plain adapts a function that answers nothing.
func plain[Req any](f func(ctx context.Context, req *Req) error) method {
	return unary(func(ctx context.Context, req *Req) (agent.Empty, error) {
		return agent.Empty{}, f(ctx, req)
	})
}
