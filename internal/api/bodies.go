package api

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// idleTime is how long an upload or download may stand still before it is
// given up: it may keep others from the container or image that it is of.
// Streams of output that people watch have no such limit.
var idleTime = 5 * time.Minute

// upload is a request's body that must not stand still. The response's
// controller must reach the connection.
type upload struct {
	body  io.Reader
	rc    *http.ResponseController
	ended bool
}

func newUpload(w http.ResponseWriter, r *http.Request) *upload {
	return &upload{body: r.Body, rc: http.NewResponseController(w)}
}

func (u *upload) Read(p []byte) (int, error) {
	_ = u.rc.SetReadDeadline(time.Now().Add(idleTime)) // fails for what is no connection, in tests
	n, err := u.body.Read(p)
	if errors.Is(err, io.EOF) {
		// net/http reads on in the background to see the client hang up, and
		// would take the end of a deadline for that.
		u.ended = true
		_ = u.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads what little follows the end of an archive: its padding.
func (u *upload) drain() error {
	_, err := io.Copy(io.Discard, io.LimitReader(u, 1<<20))
	return err
}

// done must be called when the handler has no more use for the body.
func (u *upload) done() {
	if !u.ended {
		leaveBody(u.rc)
	}
}

// leaveBody bounds how long net/http reads what a handler has left of a body,
// which it does before it sends the response. Until then the client does not
// learn why nobody wanted it.
func leaveBody(rc *http.ResponseController) {
	_ = rc.SetReadDeadline(time.Now().Add(leftTime))
}

const leftTime = time.Second

// download is a response's body that must not stand still.
type download struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newDownload(w http.ResponseWriter) *download {
	return &download{w, http.NewResponseController(w)}
}

func (d *download) Write(p []byte) (int, error) {
	_ = d.rc.SetWriteDeadline(time.Now().Add(idleTime))
	return d.w.Write(p)
}

func (d *download) done() { _ = d.rc.SetWriteDeadline(time.Time{}) }

// copyBody sends body as the response's and closes it. The response's header
// must be set. An error after the first byte aborts the connection (see
// finish), so a client never takes a part for the whole.
func copyBody(w http.ResponseWriter, r *http.Request, body io.ReadCloser) error {
	stop := closeOnDone(r, body)
	defer stop()
	d := newDownload(w)
	defer d.done()
	_, err := io.CopyBuffer(struct{ io.Writer }{d}, struct{ io.Reader }{body}, make([]byte, 128<<10))
	return err
}

// closeOnDone closes c when the client hangs up or when stop is called,
// whichever is first, and once.
func closeOnDone(r *http.Request, c io.Closer) (stop func()) {
	var once sync.Once
	shut := func() { once.Do(func() { c.Close() }) }
	done := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
			shut()
		case <-done:
		}
	}()
	return func() {
		close(done)
		shut()
	}
}
