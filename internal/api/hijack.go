package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/moby/term"
)

// hijacked is a connection taken over from HTTP, on which a container's or
// exec's streams go raw both ways. Reading sees the client's standard input,
// with end of file when the client closed its half; CloseWrite closes ours.
type hijacked struct {
	io.ReadWriteCloser
	// ctx ends when the client hangs up for good, which is more than having
	// closed its half, when it detaches, and with shut.
	ctx    context.Context
	cancel context.CancelFunc
	r      io.Reader
	once   sync.Once
	stop   func()
	// ended is closed when the client's input has ended, and endOnce guards it.
	ended   chan struct{}
	endOnce sync.Once
}

// After a hang-up its input's end may take inputTime to be read, and passTime
// from then on to be passed on to the process, before the context ends.
const (
	inputTime = time.Second
	passTime  = 50 * time.Millisecond
)

// hijack takes the connection over and writes the response's header: 101 for a
// client that asked for an upgrade, else the 200 of old clients. shut must be
// called when the handler returns.
func hijack(w http.ResponseWriter, r *http.Request, contentType string) (*hijacked, error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("cannot take the connection over: %w", err)
	}
	status := "HTTP/1.1 200 OK\r\n"
	upgrade := ""
	if r.Header.Get("Upgrade") != "" {
		status = "HTTP/1.1 101 UPGRADED\r\n"
		upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	}
	header := status + "Content-Type: " + contentType + "\r\n" + upgrade
	for _, name := range []string{"Api-Version", "Docker-Experimental", "Ostype", "Server"} {
		if v := w.Header().Get(name); v != "" {
			header += name + ": " + v + "\r\n"
		}
	}
	err = nc.SetDeadline(time.Time{}) // net/http may have left one
	if err == nil {
		_, err = io.WriteString(nc, header+"\r\n")
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("cannot take the connection over: %w", err)
	}
	if losesEarly(r.UserAgent()) {
		awaitRead(nc)
	}
	c := takenOver(r, nc, buffered(rw.Reader, nc))
	c.stop = watchHangup(nc, c.gone)
	return c, nil
}

// takenOver is a connection that net/http has given up, which begins with what
// in says.
func takenOver(r *http.Request, conn io.ReadWriteCloser, in io.Reader) *hijacked {
	// The request's context is of no use any more: net/http does not see the
	// connection break.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	return &hijacked{ReadWriteCloser: conn, ctx: ctx, cancel: cancel, r: in, stop: func() {}, ended: make(chan struct{})}
}

// gone ends the context of a client that has hung up. The process behind it
// first learns of the input's end: it would wait for more for ever.
func (c *hijacked) gone() {
	defer c.cancel()
	select {
	case <-c.ended:
	case <-c.ctx.Done():
		return
	case <-time.After(inputTime): // nobody reads
		return
	}
	select {
	case <-c.ctx.Done():
	case <-time.After(passTime):
	}
}

func (c *hijacked) inputEnded() { c.endOnce.Do(func() { close(c.ended) }) }

// buffered reads what r holds, which came together with the request, then conn.
func buffered(r *bufio.Reader, conn net.Conn) io.Reader {
	n := r.Buffered()
	if n == 0 {
		return conn
	}
	return io.MultiReader(io.LimitReader(r, int64(n)), conn)
}

func (c *hijacked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	var detach term.EscapeError
	if errors.As(err, &detach) {
		// What runs keeps its standard input: ending the context says that this
		// client has gone, end of file would say that its input has ended.
		c.cancel()
		return n, context.Canceled
	}
	if err != nil {
		c.inputEnded()
	}
	return n, err
}

// CloseWrite ends our half, when the connection has halves.
func (c *hijacked) CloseWrite() error {
	if cw, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// input says whether the client's standard input is wanted. Otherwise it is at
// its end at once, and what the client sends is thrown away, so that it is not
// held up.
func (c *hijacked) input(wanted bool) {
	if wanted {
		return
	}
	source := c.r
	c.r = eof{}
	go func() {
		_, _ = io.Copy(io.Discard, source) // until shut, or the client's half is closed
		c.inputEnded()
	}()
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// detachOn makes a key sequence in the input leave, without ending what runs.
func (c *hijacked) detachOn(keys []byte) {
	if _, none := c.r.(eof); !none && len(keys) > 0 {
		c.r = term.NewEscapeProxy(c.r, keys)
	}
}

// served tells what serving came to: that the client has gone is no failure.
func (c *hijacked) served(err error) error {
	if c.ctx.Err() == nil {
		return err
	}
	return nil
}

// shut closes the connection and ends the context. It may be called again.
func (c *hijacked) shut() {
	c.once.Do(func() {
		c.cancel()
		c.stop()
		c.ReadWriteCloser.Close()
	})
}
