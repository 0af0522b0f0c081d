package logs

import (
	"bufio"
	"errors"
	"io"
)

// scanner finds the frames of a log that may be growing. It holds one frame in
// memory at most.
type scanner struct {
	src io.ReaderAt
	off int64 // of the next frame
	buf *bufio.Reader
	// lost is set while the position is not known to be a frame's beginning.
	lost    bool
	payload []byte
}

// scanBuffer holds at least one whole frame, so that Peek can show one.
const scanBuffer = 2 * (headerSize + MaxPayload)

func newScanner(src io.ReaderAt, off int64) *scanner {
	s := &scanner{src: src}
	s.seek(off)
	return s
}

func (s *scanner) seek(off int64) {
	s.off = off
	r := io.NewSectionReader(s.src, off, 1<<62)
	if s.buf == nil {
		s.buf = bufio.NewReaderSize(r, scanBuffer)
	} else {
		s.buf.Reset(r)
	}
}

// next returns the next frame, whose payload is valid until the following
// call. Garbage is skipped. At the end it returns io.EOF, and errTorn when
// bytes of an unfinished frame are there; both may be tried again after the
// log has grown.
func (s *scanner) next() (header, []byte, error) {
	for {
		b, err := s.buf.Peek(headerSize)
		if len(b) < headerSize {
			return header{}, nil, s.ended(len(b), err)
		}
		h, ok := parse(b)
		if !ok || (s.lost && !h.plausible()) {
			s.lost = true
			s.skip(1)
			continue
		}
		b, err = s.buf.Peek(headerSize + h.length)
		if len(b) < headerSize+h.length {
			return header{}, nil, s.ended(len(b), err)
		}
		s.lost = false
		s.payload = append(s.payload[:0], b[headerSize:]...)
		s.skip(headerSize + h.length)
		return h, s.payload, nil
	}
}

func (s *scanner) skip(n int) {
	n, _ = s.buf.Discard(n) // never more than was peeked
	s.off += int64(n)
}

// ended turns the error of a Peek that saw only left bytes into next's, and
// makes the next Peek read the file again.
func (s *scanner) ended(left int, err error) error {
	s.seek(s.off)
	if !errors.Is(err, io.EOF) {
		return err
	}
	if left > 0 {
		return errTorn
	}
	return io.EOF
}
