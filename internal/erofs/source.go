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
// anything but zeros behind the last entry. What is read goes into the recipe,
// if there is one, but for the data of files that the file system holds.
type position struct {
	r      io.Reader
	n      int64
	after  int64 // the block behind the last entry
	other  bool  // from there on, something that is not zero was read
	recipe *recipe
	data   int64 // how much of what is next is data
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
	if p.recipe != nil {
		data := min(p.data, int64(n))
		p.data -= data
		p.recipe.add(b[data:n])
	}
	return n, err
}

// discard reads r, which is p or reads from it, to its end.
func (p *position) discard(r io.Reader) error {
	for {
		if p.recipe != nil {
			if err := p.recipe.settle(); err != nil {
				return err
			}
		}
		_, err := io.CopyN(io.Discard, r, 1<<20)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
