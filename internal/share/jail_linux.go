package share

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/fs"
)

// jail is what is left to the process once it is locked in.
type jail struct {
	roots map[string]int // by tag: O_PATH descriptors
	self  int            // /proc/self/fd, the directory alone
	files int            // how many descriptors it may have
}

// root is where the jail is put together: a directory that every host has.
const root = "/tmp"

// enterJail locks the process, which has mount and PID namespaces of its own,
// in with the sources. It cannot be undone.
func enterJail(sources []Source) (*jail, error) {
	unix.Umask(0)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("cannot cut the mounts off the host's: %w", err)
	}
	self, err := openSelf()
	if err != nil {
		return nil, fmt.Errorf("cannot open /proc/self/fd: %w", err)
	}
	// Sources are taken before a tmpfs may hide them.
	trees := make([]int, len(sources))
	for i, s := range sources {
		if trees[i], err = cloneTree(s); err != nil {
			return nil, fmt.Errorf("cannot share %s: %w", s.Path, err)
		}
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return nil, err
	}
	var limit unix.Rlimit // raised to its hard limit when a Go program starts
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	j := &jail{roots: map[string]int{}, self: self, files: int(min(limit.Cur, 1<<20))}
	for i, s := range sources {
		if err := place(s, trees[i]); err != nil {
			return nil, fmt.Errorf("cannot share %s: %w", s.Path, err)
		}
		fd, err := unix.Open(filepath.Join(root, s.Tag), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot share %s: %w", s.Path, err)
		}
		j.roots[s.Tag] = fd
	}
	if err := pivot(); err != nil {
		return nil, fmt.Errorf("cannot leave the host's root: %w", err)
	}
	if err := fs.EnterSelf(self); err != nil {
		return nil, err
	}
	if err := dropPrivileges(); err != nil {
		return nil, err
	}
	return j, nil
}

// openSelf opens the directory of this process's descriptors as the root of a
// mount of its own, so that ".." leads nowhere, in a /proc that shows this PID
// namespace alone.
func openSelf() (int, error) {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "subset=pid"); err != nil {
		// Before Linux 5.8 there is no such option.
		if !errors.Is(err, unix.EINVAL) {
			return -1, err
		}
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return -1, err
		}
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/1/fd", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, unix.Unmount("/proc", unix.MNT_DETACH)
}

// cloneTree takes a source with all that is mounted below it, restricted.
func cloneTree(s Source) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, s.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE}
	if s.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot restrict the mount: %w", err)
	}
	return fd, nil
}

// place mounts a taken tree as /TAG of the jail.
func place(s Source, tree int) error {
	defer func() { _ = unix.Close(tree) }()
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	target := filepath.Join(root, s.Tag)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
	case unix.S_IFREG, unix.S_IFSOCK, unix.S_IFIFO:
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			return err
		}
	default:
		return errors.New("only directories and files can be shared with a guest")
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// pivot makes the jail the root of this process and unmounts all else.
func pivot() error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	// The old root is put over the new one, and is then the working directory;
	// see pivot_root(2), NOTES.
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}
