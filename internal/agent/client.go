package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// ErrClosed says that a client was closed.
var ErrClosed = errors.New("the connection to the agent was closed")

// Client calls one agent. Its methods may be called concurrently.
type Client struct {
	dial func(ctx context.Context) (net.Conn, error)

	connecting chan struct{} // holds one token: who has it may connect

	mu      sync.Mutex
	session *yamux.Session
	closed  bool
}

// NewClient returns a client that connects when it is first used, and again
// when a call finds the session broken. A call that was under way in a broken
// session fails; it is not repeated, because it may have been carried out.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	c := &Client{dial: dial, connecting: make(chan struct{}, 1)}
	c.connecting <- struct{}{}
	return c
}

// Call makes a unary call. resp may be nil. An error of the agent's is an
// *Error; any other means that the call may or may not have been carried out.
// When ctx ends the agent is told to give up.
func (c *Client) Call(ctx context.Context, method string, req, resp any) error {
	conn, err := c.Stream(ctx, method, req, resp)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Stream makes a call whose stream goes on after the response. The caller
// closes it; closing half-closes, so that what the agent still sends can be
// read. The end of ctx breaks it.
func (c *Client) Stream(ctx context.Context, method string, req, resp any) (net.Conn, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request %s: %w", method, err)
	}
	call := Request{Method: method, Body: body}
	if req == nil {
		call.Body = nil
	}
	if b, ok := req.(Blobber); ok {
		call.Blob = *b.Blob()
	} else if req != nil && reflect.PointerTo(reflect.TypeOf(req)).Implements(blobber) {
		return nil, fmt.Errorf("cannot send the request %s without its blob: it is passed by value", method)
	}
	s, err := c.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the agent for %s: %w", method, err)
	}
	conn := &callConn{Stream: s}
	conn.stop = context.AfterFunc(ctx, func() {
		s.Close()
		s.SetDeadline(time.Unix(1, 0))
	})
	var answer Response
	if err = WriteFrame(s, &call); err == nil {
		err = ReadFrame(s, &answer)
	}
	if err == nil && answer.Error == nil && resp != nil {
		err = json.Unmarshal(answer.Body, resp)
	}
	switch {
	case err == nil && answer.Error == nil:
		return conn, nil
	case err == nil && ctx.Err() == nil:
		conn.Close()
		return nil, answer.Error
	}
	conn.Close()
	s.SetDeadline(time.Unix(1, 0))
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("cannot call the agent for %s: %w", method, err)
}

var blobber = reflect.TypeFor[Blobber]()

// open opens a stream, connecting first when no session lives.
func (c *Client) open(ctx context.Context) (*yamux.Stream, error) {
	for attempt := 0; ; attempt++ {
		session, fresh, err := c.connected(ctx)
		if err != nil {
			return nil, err
		}
		s, err := session.OpenStream()
		if err == nil {
			return s, nil
		}
		session.Close()
		if fresh || attempt > 2 {
			return nil, err
		}
	}
}

// connected returns the live session, or a fresh one.
func (c *Client) connected(ctx context.Context) (s *yamux.Session, fresh bool, err error) {
	select {
	case <-c.connecting:
		defer func() { c.connecting <- struct{}{} }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	c.mu.Lock()
	s, closed := c.session, c.closed
	c.mu.Unlock()
	if closed {
		return nil, false, ErrClosed
	}
	if s != nil && !s.IsClosed() {
		return s, false, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	if s, err = Connect(ctx, conn); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.Close()
		return nil, false, ErrClosed
	}
	c.session = s
	return s, true, nil
}

// Close ends the session and with it every call. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	s := c.session
	c.session, c.closed = nil, true
	c.mu.Unlock()
	if s != nil {
		s.Close()
	}
	return nil
}

// callConn is a stream that forgets its context when it is closed.
type callConn struct {
	*yamux.Stream
	stop func() bool
}

// Close half-closes the stream. It stays readable until the agent has closed
// its side.
func (c *callConn) Close() error {
	c.stop()
	return c.Stream.Close()
}

// CloseWrite ends this side and keeps the context's hold on the stream.
func (c *callConn) CloseWrite() error { return c.Stream.Close() }
