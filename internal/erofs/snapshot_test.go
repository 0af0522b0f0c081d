package erofs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	reader "github.com/erofs/go-erofs"
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

// onDisk takes a snapshot of a directory of the kernel's file systems.
func onDisk(t failer, root string) snapshot {
	t.Helper()
	s := snapshot{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		f := state{
			mode: st.Mode, uid: st.Uid, gid: st.Gid, sec: st.Mtim.Sec, nsec: st.Mtim.Nsec,
			nlink: int(st.Nlink), ino: st.Ino, xattrs: kernelXattrs(t, path),
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			f.size = st.Size
			f.content = kernelContent(t, path, st.Size)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			f.content = describe([]byte(target))
		case unix.S_IFCHR, unix.S_IFBLK:
			f.rdev = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		s["/"+strings.TrimPrefix(strings.TrimPrefix(path, root), "/")] = f
		return nil
	})
	if err != nil {
		t.Fatalf("cannot walk %s: %v", root, err)
	}
	return s
}

func kernelContent(t failer, path string, size int64) string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	return describeReader(f, size, func(at int64) int64 {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO { // a hole to the end
			return size
		}
		if err != nil {
			t.Fatalf("cannot seek in %s: %v", path, err)
		}
		return data
	})
}

func kernelXattrs(t failer, path string) map[string]string {
	var names, value [1 << 16]byte
	n, err := unix.Llistxattr(path, names[:])
	if err != nil {
		t.Fatalf("cannot list the xattrs of %s: %v", path, err)
	}
	found := map[string]string{}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value[:])
		if err != nil {
			t.Fatalf("cannot get the xattr %s of %s: %v", name, path, err)
		}
		found[name] = string(value[:n])
	}
	return found
}

// inImage takes a snapshot of an image with a reader that is not the kernel's.
func inImage(t failer, image io.ReaderAt) snapshot {
	t.Helper()
	s, err := readImage(image)
	if err != nil {
		t.Fatalf("cannot read the image: %v", err)
	}
	return s
}

func readImage(image io.ReaderAt) (snapshot, error) {
	fsys, err := reader.Open(image)
	if err != nil {
		return nil, err
	}
	s := snapshot{}
	return s, fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*reader.Stat)
		f := state{
			mode: unixMode(st.Mode), uid: st.UID, gid: st.GID, sec: int64(st.Mtime), nsec: int64(st.MtimeNs),
			nlink: st.Nlink, ino: uint64(st.Ino), xattrs: st.Xattrs,
		}
		switch f.mode & unix.S_IFMT {
		case unix.S_IFREG:
			f.size = st.Size
			r, err := fsys.Open(path)
			if err != nil {
				return err
			}
			defer r.Close()
			if st.Size > 256<<20 {
				return fmt.Errorf("%s has %d bytes, too many to read without the kernel", path, st.Size)
			}
			p, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			f.content = describe(p)
		case unix.S_IFLNK:
			target, err := fs.ReadLink(fsys, path)
			if err != nil {
				return err
			}
			f.content = describe([]byte(target))
		case unix.S_IFCHR, unix.S_IFBLK:
			f.rdev = fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
		}
		if path == "." {
			path = ""
		}
		s["/"+path] = f
		return nil
	})
}

// unixMode is a Go file mode as stat(2) has it.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, bit := range []struct {
		is   fs.FileMode
		unix uint32
	}{{fs.ModeSetuid, unix.S_ISUID}, {fs.ModeSetgid, unix.S_ISGID}, {fs.ModeSticky, unix.S_ISVTX}} {
		if m&bit.is != 0 {
			mode |= bit.unix
		}
	}
	switch m.Type() {
	case 0:
		return mode | unix.S_IFREG
	case fs.ModeDir:
		return mode | unix.S_IFDIR
	case fs.ModeSymlink:
		return mode | unix.S_IFLNK
	case fs.ModeDevice | fs.ModeCharDevice:
		return mode | unix.S_IFCHR
	case fs.ModeDevice:
		return mode | unix.S_IFBLK
	case fs.ModeNamedPipe:
		return mode | unix.S_IFIFO
	}
	return mode
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
