package runtime

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The mount API by descriptors (fsopen(2), open_tree(2), move_mount(2),
// mount_setattr(2); Linux 5.12 for all). A detached mount lives as long as its
// descriptor or until it is attached.

// fsMount mounts a new file system, detached. An option is "key=value" or "flag".
func fsMount(fstype string, attrs int, options ...string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot open file system %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, o)
		}
		if err != nil {
			return -1, fmt.Errorf("cannot set option %q of %s: %w%s", o, fstype, err, fsLog(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("cannot create %s: %w%s", fstype, err, fsLog(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("cannot mount %s: %w%s", fstype, err, fsLog(fs))
	}
	return fd, nil
}

// fsLog returns what the kernel says about a failure, in parentheses.
func fsLog(fs int) string {
	var all []string
	for len(all) < 4 {
		b := make([]byte, 512)
		n, err := unix.Read(fs, b)
		if err != nil || n <= 2 {
			break
		}
		all = append(all, strings.TrimSpace(string(b[2:n])))
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}

// attach moves a detached mount onto the place that target is open at.
func attach(mount, target int) error {
	return unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// cloneTree makes a detached bind mount of dir/path; path may be empty.
func cloneTree(dir int, path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.OpenTree(dir, path, flags)
}

// setAttr changes a mount, or recursively a tree of them.
func setAttr(mount int, attr unix.MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(mount, "", flags, &attr)
}

// inRoot opens a path below root as the last word on where it is: links stay
// inside, and those of /proc that jump elsewhere are refused (openat2(2)).
func inRoot(root int, path string, flags int, mode uint32, resolve uint64) (int, error) {
	for attempt := 0; ; attempt++ {
		fd, err := unix.Openat2(root, path, &unix.OpenHow{
			Flags:   uint64(flags) | unix.O_CLOEXEC,
			Mode:    uint64(mode),
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
		})
		// EAGAIN: something was renamed meanwhile and the kernel cannot tell.
		if (err == unix.EAGAIN || err == unix.EINTR) && attempt < 64 {
			continue
		}
		return fd, err
	}
}

func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}
