package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

const page = 4096

var zeroPage [page]byte

// copyPages copies the pages of src that are not zero to the same places of
// dst, and returns a sum over places and content, and how many bytes it were.
// What is a hole or zero in src must be so in dst already.
func copyPages(dst, src *os.File) (sum uint64, used int64, err error) {
	h := xxhash.New()
	buf := make([]byte, 1<<20)
	err = eachExtent(src, func(at, n int64) error {
		for end := at + n; at < end; {
			b := buf[:min(int64(len(buf)), end-at)]
			m, err := src.ReadAt(b, at)
			if m < len(b) {
				return fmt.Errorf("cannot read %s: %w", src.Name(), err)
			}
			for off := 0; off < len(b); {
				run := stretch(b[off:])
				if run > 0 {
					var place [8]byte
					binary.LittleEndian.PutUint64(place[:], uint64(at)+uint64(off))
					// Page by page, so that the sum does not depend on how
					// holes and buffers divide the file.
					for o := off; o < off+run; o += page {
						binary.LittleEndian.PutUint64(place[:], uint64(at)+uint64(o))
						h.Write(place[:])
						h.Write(b[o:min(o+page, len(b))])
					}
					if _, err := dst.WriteAt(b[off:off+run], at+int64(off)); err != nil {
						return fmt.Errorf("cannot write %s: %w", dst.Name(), err)
					}
					used += int64(run)
					off += run
				} else {
					off += page
				}
			}
			at += int64(len(b))
		}
		return nil
	})
	return h.Sum64(), used, err
}

// stretch is the length of the pages at the beginning of b before a zero one.
func stretch(b []byte) int {
	n := 0
	for n < len(b) && !bytes.Equal(b[n:min(n+page, len(b))], zeroPage[:min(page, len(b)-n)]) {
		n = min(n+page, len(b))
	}
	return n
}

// punchZeroes gives back the memory of pages that are zero.
func punchZeroes(f *os.File) error {
	buf := make([]byte, 1<<20)
	return eachExtent(f, func(at, n int64) error {
		for end := at + n; at < end; {
			b := buf[:min(int64(len(buf)), end-at)]
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			for off := 0; off < len(b); off += page {
				if stretch(b[off:min(off+page, len(b))]) != 0 {
					continue
				}
				if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at+int64(off), page); err != nil {
					return err
				}
			}
			at += int64(len(b))
		}
		return nil
	})
}

// pruneTemplates removes those least recently used beyond the limit, and what
// builds that were killed left.
func pruneTemplates(dir string, limit int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type aged struct {
		name string
		used int64
	}
	var list []aged
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		if strings.HasPrefix(e.Name(), ".") {
			if time.Since(fi.ModTime()) > time.Hour { // of a daemon that was killed
				os.RemoveAll(filepath.Join(dir, e.Name()))
			}
			continue
		}
		list = append(list, aged{e.Name(), fi.ModTime().UnixNano()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].used > list[j].used })
	for i, t := range list {
		if i >= limit {
			os.RemoveAll(filepath.Join(dir, t.name))
			os.Remove(filepath.Join(dir, "."+t.name+".lock"))
		}
	}
}
