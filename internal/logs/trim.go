package logs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Bound limits a log to Files parts of Size bytes. The log is one file all the
// same; the parts say how much is given back at a time. The zero Bound is none.
type Bound struct {
	Size  int64 `json:",omitempty"`
	Files int   `json:",omitempty"`
}

// total is how many bytes may be kept; 0 is any number.
func (b Bound) total() int64 {
	if b.Size <= 0 || b.Files <= 0 || b.Size > math.MaxInt64/int64(b.Files) {
		return 0
	}
	return b.Size * int64(b.Files)
}

// minFrame is the least that it pays to write by itself.
const minFrame = 256

// Frame is the largest payload of which several fit, in bytes, so that the end
// of the output is kept whenever the log is trimmed.
func (b Bound) Frame() int {
	if b.total() == 0 {
		return MaxPayload
	}
	return int(max(minFrame, min(b.total()/16, MaxPayload)))
}

// keep is how many of the newest bytes a Trim leaves.
func (b Bound) keep() int64 {
	if b.Files == 1 {
		return b.Size / 2 // or the last line would be gone whenever the log is full
	}
	return b.Size * int64(b.Files-1)
}

// full is the size at which a log is trimmed: one frame more still fits.
func (b Bound) full() int64 {
	return b.total() - min(b.total()/8, headerSize+MaxPayload)
}

// scanMax is how much of a log is read to find where the frame begins that the
// log is to begin with. Farther away, a frame is recognised by its header: who
// writes faster than this reads, as a guest can that writes no frames, must
// not get ahead.
const scanMax = 32 << 20

// Trim gives the oldest part of a log back to the file system when the log has
// reached its bound. Others may append to it and read it meanwhile: what is
// left stays at its offsets, as the part that goes becomes a hole. On a file
// system that has no holes to punch, everything goes.
//
// room is how many more bytes may be written before it has to be called again.
// With the zero Bound, and for a log that does not exist, that is
// math.MaxInt64.
func Trim(path string, b Bound) (room int64, err error) {
	if b.total() == 0 {
		return math.MaxInt64, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return math.MaxInt64, nil
	}
	if err != nil {
		return b.Size, fmt.Errorf("cannot bound the log: %w", err)
	}
	defer f.Close()
	if room, err = trim(f, path, b); err != nil {
		return b.Size, fmt.Errorf("cannot bound the log: %w", err)
	}
	return room, nil
}

func trim(f *os.File, path string, b Bound) (room int64, err error) {
	// The daemon and an agent may both see that it is time. It is unlocked when
	// f is closed.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return 0, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	m := readMark(path)
	if m.start > end {
		m = mark{generation: m.generation + 1}
	}
	m.start = dataFrom(f, m.start, end)
	if kept := end - m.start; kept < b.full() {
		return b.full() - kept, nil
	}
	next, err := m.advance(f, end-b.keep(), end, b.full())
	if err != nil {
		return 0, err
	}
	if next.start == 0 { // an unfinished frame is all there is
		return 1, nil
	}
	unsaved := next.save(path) // first, so that no reader takes zeros for output
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, next.start)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		next = mark{generation: next.generation + 1}
		unsaved = next.save(path)
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
		end = 0
	case err != nil:
		return 0, err
	}
	if unsaved != nil { // there is room now
		if err := next.save(path); err != nil {
			return 0, err
		}
	}
	return max(1, b.full()-(end-next.start)), nil
}

// advance returns the mark of the frame in which target is; or of the next, if
// the log would remain full.
func (m mark) advance(f *os.File, target, end, full int64) (mark, error) {
	far := target-m.start > scanMax
	// Among garbage no frame may be found; then one place is as good as another.
	limit := min(end, target+2*(headerSize+MaxPayload))
	s := newScanner(io.NewSectionReader(f, 0, limit), m.start)
	if far {
		s.seek(target)
		s.lost = true
		m.within = 1<<Stdout | 1<<Stderr
	}
	for {
		h, p, err := s.next()
		begin := s.off - int64(headerSize+h.length)
		switch {
		case err == nil && far:
			m.start = begin
			return m, nil
		case errors.Is(err, io.EOF), errors.Is(err, errTorn):
			if m.start = s.off; s.lost {
				m.start, m.within = target, 1<<Stdout|1<<Stderr
			}
			return m, nil
		case err != nil:
			return m, err
		}
		if s.off > target && end-begin < full {
			m.start = begin
			return m, nil
		}
		m.within &^= 1 << h.stream
		if p[len(p)-1] != '\n' {
			m.within |= 1 << h.stream
		}
		if s.off >= target {
			m.start = s.off
			return m, nil
		}
	}
}

// dataFrom is the first offset from off on that is not in a hole.
func dataFrom(f *os.File, off, end int64) int64 {
	switch data, err := f.Seek(off, unix.SEEK_DATA); {
	case err == nil:
		return data
	case errors.Is(err, unix.ENXIO): // nothing but a hole
		return max(off, end)
	}
	return off // a file system that cannot tell
}
