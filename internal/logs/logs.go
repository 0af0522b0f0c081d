// Package logs is the file of a container's output: an agent, or for a guest
// its hypervisor, appends frames to it, and the daemon reads them.
//
// A frame is one byte of stream (1 standard output, 2 standard error), eight
// bytes of big-endian nanoseconds since 1970 (UTC), four bytes of big-endian
// length (1 to MaxPayload) and the payload. A frame says nothing of lines: it
// may hold several, or a part of one.
//
// A log that has reached its bound loses its oldest frames, which become a hole
// in the file. Where it begins then is in a second file, named after the log
// with ".start" behind.
//
// Nothing in a log is trusted. A guest chooses every byte of its own, and a
// kernel that died may have left half a frame anywhere but at the beginning.
package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Streams of a container's output, numbered as in the Docker API.
const (
	Stdout = 1
	Stderr = 2
)

// MaxPayload bounds a frame's payload, in bytes.
const MaxPayload = 64 << 10

const headerSize = 1 + 8 + 4

// Append writes p as frames of at most MaxPayload bytes, one Write call each,
// so that with a file opened for appending frames of several writers do not
// mix. Empty output writes nothing.
func Append(w io.Writer, stream byte, at time.Time, p []byte) error {
	if stream != Stdout && stream != Stderr {
		return fmt.Errorf("cannot log: stream %d is neither standard output nor standard error", stream)
	}
	for len(p) > 0 {
		n := min(len(p), MaxPayload)
		frame := make([]byte, headerSize+n)
		frame[0] = stream
		binary.BigEndian.PutUint64(frame[1:], uint64(at.UnixNano()))
		binary.BigEndian.PutUint32(frame[9:], uint32(n))
		copy(frame[headerSize:], p[:n])
		if _, err := w.Write(frame); err != nil {
			return fmt.Errorf("cannot log: %w", err)
		}
		p = p[n:]
	}
	return nil
}

type header struct {
	stream byte
	at     time.Time
	length int
}

// parse reads a header; false when the bytes cannot be one.
func parse(b []byte) (header, bool) {
	n := binary.BigEndian.Uint32(b[9:])
	if (b[0] != Stdout && b[0] != Stderr) || n == 0 || n > MaxPayload {
		return header{}, false
	}
	return header{
		stream: b[0],
		at:     time.Unix(0, int64(binary.BigEndian.Uint64(b[1:]))).UTC(),
		length: int(n),
	}, true
}

// plausible is asked of a header that is looked for among garbage: there the
// time is most of what tells a header from chance.
func (h header) plausible() bool {
	year := h.at.Year()
	return year >= 2000 && year < 2200
}

// errTorn says that the log ends within a frame.
var errTorn = errors.New("the log ends within a frame")
