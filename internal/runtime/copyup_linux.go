package runtime

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyUp fills the mount when it is empty with what the root has at target.
func (b *builder) copyUp(mount int, target string) error {
	dst, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	names, err := readNames(dst)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n != "lost+found" {
			return nil
		}
	}
	src, err := inRoot(b.root, target, unix.O_RDONLY|unix.O_DIRECTORY, 0, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(src)
	return copyTree(src, dst, 0)
}

// maxDepth bounds the recursion into directories of an image.
const maxDepth = 1000

// copyTree copies owners, modes, times, extended attributes and contents of
// the directory src into the directory dst.
func copyTree(src, dst, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("directories are nested more than %d deep", maxDepth)
	}
	names, err := readNames(src)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(src, dst, name, depth); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return copyMeta(src, dst)
}

func copyEntry(src, dst int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(src, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(dst, name, 0o700); err != nil {
			return err
		}
		s, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		d, err := unix.Openat(dst, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(d)
		return copyTree(s, d, depth+1)
	case unix.S_IFREG:
		s, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		from := os.NewFile(uintptr(s), name)
		defer from.Close()
		d, err := unix.Openat(dst, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		to := os.NewFile(uintptr(d), name)
		defer to.Close()
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
		return copyMeta(s, d)
	case unix.S_IFLNK:
		to := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(src, name, to)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(string(to[:n]), dst, name); err != nil {
			return err
		}
	default: // a device fails in a user namespace, where it would not work either
		if err := unix.Mknodat(dst, name, st.Mode, int(st.Rdev)); err != nil {
			if err == unix.EPERM {
				return nil
			}
			return err
		}
		if err := unix.Fchmodat(dst, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.Fchownat(dst, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// copyMeta gives the open file dst the owner, mode, attributes and times of src.
func copyMeta(src, dst int) error {
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	if err := unix.Fchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return err
	}
	list := make([]byte, 64<<10)
	if n, err := unix.Flistxattr(src, list); err == nil {
		for _, name := range splitNUL(list[:n]) {
			value := make([]byte, 64<<10)
			if v, err := unix.Fgetxattr(src, name, value); err == nil {
				_ = unix.Fsetxattr(dst, name, value[:v], 0) // not every file system has them
			}
		}
	}
	return unix.UtimesNanoAt(dst, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
}

func splitNUL(b []byte) (names []string) {
	for start, i := 0, 0; i < len(b); i++ {
		if b[i] == 0 {
			names = append(names, string(b[start:i]))
			start = i + 1
		}
	}
	return names
}

// readNames lists an open directory from its beginning.
func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}
