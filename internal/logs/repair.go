package logs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Repair cuts off the unfinished frame that a kernel which died may have left
// at the end of a log, so that what is appended from now on is read right. A
// log that does not exist is made, empty, with the given mode. Nothing may be
// writing to it.
func Repair(path string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return fmt.Errorf("cannot open the log: %w", err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // a Trim may be under way
		return fmt.Errorf("cannot open the log: %w", err)
	}
	end, err := cutEnd(f, path)
	if err != nil {
		return fmt.Errorf("cannot repair the log: %w", err)
	}
	shorten(f, path, end)
	return nil
}

// cutEnd returns where the log ends then.
func cutEnd(f *os.File, path string) (int64, error) {
	begin, err := (&source{File: f, path: path}).begin()
	if err != nil {
		return 0, err
	}
	s := newScanner(f, begin.start)
	for {
		_, _, err := s.next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return s.off, nil
		case errors.Is(err, errTorn):
			return s.off, f.Truncate(s.off)
		default:
			return 0, err
		}
	}
}

// holeMax is how long the hole at a log's beginning may be when something
// begins to write to it. File systems bound a file's length, holes included:
// ext4 to 16 TiB.
const holeMax = 1 << 30

// shorten takes a long hole out of the file, where the file system can.
func shorten(f *os.File, path string, end int64) {
	m := readMark(path)
	length := m.start &^ (1<<20 - 1) // whole blocks of any file system
	if m.start > end || length < holeMax || length >= end {
		return
	}
	short := m
	short.start -= length
	short.generation++
	if short.save(path) != nil { // first: after a crash the mark may be in the hole, but not behind frames
		return
	}
	if unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, length) != nil {
		m.generation += 2
		_ = m.save(path) // else the log begins behind the hole, wherever that ends
	}
}
