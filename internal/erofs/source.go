package erofs

import (
	"context"
	"io"
)

// A source is the caller's reader. It keeps the error that the reader had, and
// ends with ctx.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A position knows how far the archive was read, and whether there was
// anything but zeros behind the last entry.
type position struct {
	r     io.Reader
	n     int64
	after int64 // the block behind the last entry
	other bool  // from there on, something that is not zero was read
}

// watch begins to look for zeros, in the block behind what was read.
func (p *position) watch() { p.after, p.other = roundUp(p.n, 512), false }

// zeros tells whether at least one block was read since watch, of zeros alone.
func (p *position) zeros() bool { return p.n >= p.after+512 && !p.other }

func (p *position) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if skip := max(0, p.after-p.n); skip < int64(n) && !p.other {
		p.other = !isZero(b[skip:n])
	}
	p.n += int64(n)
	return n, err
}
