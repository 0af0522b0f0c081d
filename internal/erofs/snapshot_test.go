package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A failer is a *testing.T, or a *rapid.T.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A state is what can be known of one file of a tree.
type state struct {
	mode     uint32 // with the type, as in stat(2)
	uid, gid uint32
	sec      int64
	nsec     int64
	rdev     string
	size     int64 // not of directories
	content  string
	xattrs   map[string]string
	nlink    int
	ino      uint64
}

// A snapshot is the states of a tree by path; the root is "/".
type snapshot map[string]state

// String describes the tree in a line for each path. Left out is what is
// usual: the owner root, the time 0, one name.
func (s snapshot) String() string {
	first := map[uint64]string{}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(s)) {
		f := s[path]
		fmt.Fprintf(&b, "%s %s", path, kinds[f.mode&unix.S_IFMT])
		if f.mode&unix.S_IFMT != unix.S_IFLNK {
			fmt.Fprintf(&b, " %04o", f.mode&0o7777)
		}
		if f.uid != 0 || f.gid != 0 {
			fmt.Fprintf(&b, " %d:%d", f.uid, f.gid)
		}
		if f.sec != 0 || f.nsec != 0 {
			fmt.Fprintf(&b, " @%d.%09d", f.sec, f.nsec)
		}
		for _, more := range []string{f.rdev, f.content} {
			if more != "" {
				b.WriteString(" " + more)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(f.xattrs)) {
			fmt.Fprintf(&b, " %s=%q", name, f.xattrs[name])
		}
		if f.nlink > 1 {
			fmt.Fprintf(&b, " x%d", f.nlink)
		}
		if f.nlink > 1 && f.mode&unix.S_IFMT != unix.S_IFDIR {
			if first[f.ino] == "" {
				first[f.ino] = path
			}
			b.WriteString(" is " + first[f.ino])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var kinds = map[uint32]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFCHR: "char",
	unix.S_IFBLK: "block", unix.S_IFIFO: "fifo",
}

// describe says what a regular file or a symlink holds.
func describe(content []byte) string {
	return describeReader(bytes.NewReader(content), int64(len(content)), nil)
}

// describeReader is describe for large files: nextData, when there is one,
// skips holes. Equal descriptions are equal contents.
func describeReader(r io.ReaderAt, size int64, nextData func(int64) int64) string {
	if size <= 60 {
		p := make([]byte, size)
		if n, err := r.ReadAt(p, 0); err != nil && (err != io.EOF || n < int(size)) {
			return fmt.Sprintf("unreadable: %v", err)
		}
		return fmt.Sprintf("%q", p)
	}
	var sum hash.Hash
	const piece = 64 << 10
	p := make([]byte, piece)
	for at := int64(0); at < size; at += piece {
		if nextData != nil && at%(16*piece) == 0 {
			if at = nextData(at) &^ (piece - 1); at >= size {
				break
			}
		}
		n, err := r.ReadAt(p[:min(piece, size-at)], at)
		if int64(n) < min(piece, size-at) {
			return fmt.Sprintf("unreadable at %d: %v", at, err)
		}
		if bytes.Count(p[:n], []byte{0}) == n {
			continue
		}
		if sum == nil {
			sum = sha256.New()
		}
		binary.Write(sum, binary.LittleEndian, at)
		sum.Write(p[:n])
	}
	if sum == nil {
		return fmt.Sprintf("%d zeros", size)
	}
	return fmt.Sprintf("%d bytes %x", size, sum.Sum(nil)[:8])
}

// same compares two trees.
func same(t failer, what string, got, want fmt.Stringer) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want.String(), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A text is a wanted tree, written down.
type text string

func (s text) String() string { return strings.TrimLeft(string(s), "\n") }
