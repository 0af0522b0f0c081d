package api

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
)

// frameHeader is the length of the header before each frame of a multiplexed
// stream: one byte of stream, three of zero, a 4-byte big-endian length.
const frameHeader = 8

// writeFrame writes p to w as one frame of stream, in one Write.
func writeFrame(w io.Writer, stream stdcopy.StdType, p []byte) error {
	frame := make([]byte, frameHeader, frameHeader+len(p))
	frame[0] = byte(stream)
	binary.BigEndian.PutUint32(frame[4:], uint32(len(p)))
	_, err := w.Write(append(frame, p...))
	return err
}

// streamType is the content type of a container's or exec's output.
func streamType(v apiVersion, framed bool) string {
	if framed && !v.before(42) {
		return types.MediaTypeMultiplexedStream
	}
	return types.MediaTypeRawStream
}

// flushed is a response of which every Write leaves at once.
type flushed struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// newFlushed also sends the response's header.
func newFlushed(w http.ResponseWriter, contentType string) *flushed {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	f := &flushed{w: w, rc: http.NewResponseController(w)}
	_ = f.rc.Flush()
	return f
}

func (f *flushed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.rc.Flush()
}

// lines writes JSON documents, one a line. It is safe for concurrent use.
type lines struct {
	w      io.Writer
	before string // put in front of each

	mu sync.Mutex
}

func (l *lines) write(v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.w.Write(append(append([]byte(l.before), p...), '\n'))
	return err
}
