package agent

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Request is the frame that begins a call.
type Request struct {
	Method string
	Body   []byte // JSON
	Blob   []byte // what the body leaves out: see Blobber
}

// Response is the frame that answers it: an error or a body.
type Response struct {
	Error *Error
	Body  []byte // JSON
}

// A Blobber is a message with bytes that travel as they are. In JSON they would
// be coded, and read several times: milliseconds where the agent's kernel is
// emulated.
type Blobber interface{ Blob() *[]byte }

// Frame is a Request or a Response: parts of any length, each after its length
// as 32 bits, big-endian, and the length of all in front of them.
type Frame interface {
	parts() ([][]byte, error)
	setParts([][]byte) error
}

func (r *Request) parts() ([][]byte, error) {
	return [][]byte{[]byte(r.Method), r.Body, r.Blob}, nil
}

func (r *Request) setParts(p [][]byte) error {
	if len(p) != 3 {
		return fmt.Errorf("cannot read a request of %d parts", len(p))
	}
	r.Method, r.Body, r.Blob = string(p[0]), p[1], p[2]
	return nil
}

func (r *Response) parts() ([][]byte, error) {
	if r.Error == nil {
		return [][]byte{nil, r.Body}, nil
	}
	e, err := json.Marshal(r.Error)
	if err != nil {
		return nil, fmt.Errorf("cannot encode an error: %w", err)
	}
	return [][]byte{e, nil}, nil
}

func (r *Response) setParts(p [][]byte) error {
	if len(p) != 2 {
		return fmt.Errorf("cannot read a response of %d parts", len(p))
	}
	r.Error, r.Body = nil, p[1]
	if len(p[0]) > 0 {
		if err := json.Unmarshal(p[0], &r.Error); err != nil {
			return fmt.Errorf("cannot decode an error: %w", err)
		}
	}
	return nil
}

// WriteFrame writes f with one Write.
func WriteFrame(w io.Writer, f Frame) error {
	parts, err := f.parts()
	if err != nil {
		return err
	}
	size := 4 * len(parts)
	for _, p := range parts {
		size += len(p)
	}
	if size > MaxFrame {
		return fmt.Errorf("cannot send a frame of %d bytes: the most is %d", size, MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+size), uint32(size))
	for _, p := range parts {
		frame = append(binary.BigEndian.AppendUint32(frame, uint32(len(p))), p...)
	}
	_, err = w.Write(frame)
	return err
}

// ReadFrame reads f. It returns io.EOF when the stream ends before the frame
// begins, and allocates no more than has arrived.
func ReadFrame(r io.Reader, f Frame) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("cannot read a frame of %d bytes: the most is %d", n, MaxFrame)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(body) < int(n) {
		return io.ErrUnexpectedEOF
	}
	var parts [][]byte
	for len(body) > 0 {
		if len(body) < 4 || len(parts) == maxParts {
			return errParts
		}
		size := binary.BigEndian.Uint32(body)
		body = body[4:]
		if uint64(size) > uint64(len(body)) {
			return errParts
		}
		parts, body = append(parts, body[:size:size]), body[size:]
	}
	return f.setParts(parts)
}

const maxParts = 3

var errParts = errors.New("cannot read a frame whose parts do not fill it")

// WriteIO writes one I/O frame with one Write; p is at most MaxIO bytes.
func WriteIO(w io.Writer, kind byte, p []byte) error {
	if len(p) > MaxIO {
		return fmt.Errorf("cannot send %d bytes in an I/O frame: the most is %d", len(p), MaxIO)
	}
	frame := make([]byte, 5, 5+len(p))
	frame[0] = kind
	binary.BigEndian.PutUint32(frame[1:], uint32(len(p)))
	_, err := w.Write(append(frame, p...))
	return err
}

// ReadIO reads one I/O frame. The payload is in buf when that is large enough,
// else in a new slice. It returns io.EOF when the stream ends between frames.
func ReadIO(r io.Reader, buf []byte) (kind byte, p []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxIO {
		return 0, nil, fmt.Errorf("cannot read an I/O frame of %d bytes: the most is %d", n, MaxIO)
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	p = buf[:n]
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return head[0], p, nil
}
