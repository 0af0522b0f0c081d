package erofs_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	reader "github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
)

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
