package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Request is the frame that begins a call.
type Request struct {
	Method string
	Body   json.RawMessage `json:",omitempty"`
}

// Response is the frame that answers it: an error or a body.
type Response struct {
	Error *Error          `json:",omitempty"`
	Body  json.RawMessage `json:",omitempty"`
}

// WriteFrame writes v as one frame with one Write.
func WriteFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode a frame: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("cannot send a frame of %d bytes: the most is %d", len(body), MaxFrame)
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// ReadFrame reads one frame into v. It returns io.EOF when the stream ends
// before the frame begins, and allocates no more than has arrived.
func ReadFrame(r io.Reader, v any) error {
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
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("cannot decode a frame: %w", err)
	}
	return nil
}

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
