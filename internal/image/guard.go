package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// errStalled ends a response that has sent nothing for too long.
var errStalled = errors.New("the registry has fallen silent")

// largeBody marks a context in which responses may be as large as they like:
// those of layers, which are counted elsewhere.
type largeBody struct{}

// A guard limits what a registry can do to us with a response: how large it
// is, unless the request's context is marked with largeBody, and how long it
// keeps silent; and how long it takes nothing of what it is sent.
type guard struct {
	next  http.RoundTripper
	stall time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.stall, func() { cancel(errStalled) })
	req = req.WithContext(ctx)
	var sent *sentBody
	if req.Body != nil && req.Body != http.NoBody {
		sent = &sentBody{ReadCloser: req.Body, timer: timer, stall: g.stall}
		req.Body = sent
	}
	resp, err := g.next.RoundTrip(req)
	sent.answered()
	timer.Stop()
	if err != nil {
		err = stallOr(ctx, err)
		cancel(nil)
		return nil, err
	}
	limit := int64(maxConfig)
	if req.Context().Value(largeBody{}) != nil {
		limit = 1 << 62
	}
	resp.Body = &guardedBody{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer, stall: g.stall, left: limit}
	return resp, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// stallOr returns errStalled if that is what ended ctx, else err.
func stallOr(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// A sentBody is a request's: each time the registry has taken some of it, it has
// time for more.
type sentBody struct {
	io.ReadCloser
	stall time.Duration
	mu    sync.Mutex
	timer *time.Timer
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.timer != nil {
		b.timer.Reset(b.stall)
	}
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// answered says that the time is over in which the body counts, if there is one.
func (b *sentBody) answered() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
}

type guardedBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	left   int64
	once   sync.Once
}

// Read implements io.Reader. Time between two reads is the reader's own and
// does not count.
func (b *guardedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the registry's answer is larger than the %d bytes that are possible: %w", maxConfig, errdefs.ErrInvalidArgument)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = stallOr(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *guardedBody) Close() error {
	b.timer.Stop()
	b.once.Do(func() { b.cancel(nil) })
	return b.body.Close()
}
