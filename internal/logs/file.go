package logs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a sink for Append, for one writer: a file, which is made when it
// is not there and kept within the bound, or a device, which is not.
func Open(path string, b Bound) (io.WriteCloser, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOCTTY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the output log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open the output log: %w", err)
	}
	if b.total() == 0 || !info.Mode().IsRegular() {
		return f, nil
	}
	return &bounded{File: f, bound: b}, nil
}

// bounded is a log whose writer sees to it that it keeps its bound.
type bounded struct {
	*os.File
	bound Bound
	room  int64 // until the next look
}

func (l *bounded) Write(p []byte) (int, error) {
	n, err := l.File.Write(p)
	if l.room -= int64(n); l.room <= 0 {
		var terr error
		l.room, terr = Trim(l.Name(), l.bound)
		err = errors.Join(err, terr)
	}
	return n, err
}

// source is a log that is read while it may be trimmed.
type source struct {
	*os.File
	path string
	mark mark // as it was when it was begun
}

// errOvertaken says that what was to be read has been given back.
var errOvertaken = errors.New("the log has been trimmed")

// ReadAt is errOvertaken when the log does not hold what was read any more:
// some of it may have been the zeros of a hole.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.File.ReadAt(p, off)
	if m := readMark(s.path); m != s.mark && (m.generation != s.mark.generation || off < m.start) {
		return 0, errOvertaken
	}
	return n, err
}

// begin returns where the log begins now, and reads on from there.
func (s *source) begin() (mark, error) {
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return mark{}, err
	}
	m := readMark(s.path)
	s.mark = m
	if m.start > end { // it was emptied, and a crash has lost the word of that
		m.start, m.within = 0, 0
	}
	if data := dataFrom(s.File, m.start, end); data > m.start { // the mark was lost
		m.start, m.within = data, 1<<Stdout|1<<Stderr
	}
	return m, nil
}
