package logs

import (
	"encoding/binary"
	"hash/crc32"
	"os"
)

// mark says where a log begins, of which the oldest part may have been given
// back. It is a small file beside the log, which a guest cannot reach.
type mark struct {
	// start is the offset of the first frame that is kept.
	start int64
	// generation changes when the file's bytes have moved, so that no offset
	// of before means anything.
	generation uint32
	// within has a bit for each stream of which a line may be under way at
	// start, begun by what is not there any more.
	within uint32
}

const markSize = 8 + 4 + 4 + 4

func markPath(log string) string { return log + ".start" }

// readMark returns the mark of a log; zero when it has none, or none that can
// be read: a machine that died may have left any, and scanning helps then.
func readMark(log string) mark {
	for range 5 { // it is written in place, and may be half there
		b, err := os.ReadFile(markPath(log))
		if err != nil {
			return mark{}
		}
		if len(b) != markSize || crc32.ChecksumIEEE(b[:16]) != binary.BigEndian.Uint32(b[16:]) {
			continue
		}
		m := mark{
			start:      int64(binary.BigEndian.Uint64(b)),
			generation: binary.BigEndian.Uint32(b[8:]),
			within:     binary.BigEndian.Uint32(b[12:]),
		}
		if m.start >= 0 {
			return m
		}
	}
	return mark{}
}

// save writes the mark in place: a disk that is full has room for no other
// file, and that is when it matters.
func (m mark) save(log string) error {
	var b [markSize]byte
	binary.BigEndian.PutUint64(b[:], uint64(m.start))
	binary.BigEndian.PutUint32(b[8:], m.generation)
	binary.BigEndian.PutUint32(b[12:], m.within)
	binary.BigEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:16]))
	f, err := os.OpenFile(markPath(log), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b[:], 0)
	return err
}
