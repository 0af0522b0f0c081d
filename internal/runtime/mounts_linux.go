package runtime

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// mounts attaches what the caller wants, in its order.
func (b *builder) mounts() error {
	if !slices.ContainsFunc(b.cfg.Mounts, func(m stageMount) bool { return filepath.Clean(m.Target) == "/dev/shm" }) {
		// Nothing is shared there, and /dev is no place for it.
		if dev, err := inRoot(b.root, "/dev", unix.O_PATH|unix.O_DIRECTORY, 0, 0); err == nil {
			_ = unix.Unlinkat(dev, "shm", unix.AT_REMOVEDIR)
			unix.Close(dev)
		}
	}
	for _, m := range b.cfg.Mounts {
		if err := b.mount(m); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) mount(m stageMount) error {
	fd := at(b.fds, m.FD)
	if m.FD < 0 {
		attrs, options := tmpfsOptions(m.Options)
		var err error
		if fd, err = fsMount("tmpfs", attrs, options...); err != nil {
			return errorf(agent.ClassInvalid, "cannot mount a tmpfs on %s: %w", m.Target, err)
		}
	}
	if m.CopyUp && m.Dir {
		if err := b.copyUp(fd, m.Target); err != nil {
			return fmt.Errorf("cannot fill the mount on %s from the image: %w", m.Target, err)
		}
	}
	if m.ReadOnly {
		if err := setAttr(fd, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, true); err != nil {
			return fmt.Errorf("cannot make the mount on %s read-only: %w", m.Target, err)
		}
	}
	return b.place(fd, m.Target, m.Dir)
}

// tmpfsOptions splits options of mount(8) into attributes of the mount and
// parameters of tmpfs. Docker's default is noexec, nosuid, nodev.
func tmpfsOptions(options []string) (attrs int, rest []string) {
	attrs = attrSystem
	flags := map[string]int{
		"exec": -unix.MOUNT_ATTR_NOEXEC, "noexec": unix.MOUNT_ATTR_NOEXEC,
		"suid": -unix.MOUNT_ATTR_NOSUID, "nosuid": unix.MOUNT_ATTR_NOSUID,
		"dev": -unix.MOUNT_ATTR_NODEV, "nodev": unix.MOUNT_ATTR_NODEV,
		"ro": unix.MOUNT_ATTR_RDONLY, "rw": -unix.MOUNT_ATTR_RDONLY,
		"noatime": unix.MOUNT_ATTR_NOATIME, "relatime": 0, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
		"nodiratime": unix.MOUNT_ATTR_NODIRATIME, "defaults": 0, "private": 0, "rprivate": 0, "": 0,
	}
	for _, o := range options {
		for o := range strings.SplitSeq(o, ",") {
			f, ok := flags[o]
			switch {
			case !ok:
				rest = append(rest, o)
			case f < 0:
				attrs &^= -f
			default:
				attrs |= f
			}
		}
	}
	return attrs, rest
}

// files binds what the agent keeps beside the container over its paths.
func (b *builder) files() error {
	for _, f := range b.cfg.Files {
		if err := b.place(at(b.fds, f.FD), f.Target, false); err != nil {
			return err
		}
	}
	return nil
}

// hide covers masked paths and makes others read-only. What is not there
// needs no hiding.
func (b *builder) hide(paths hidden) error {
	for _, p := range paths.Readonly {
		t, err := inRoot(b.root, p, unix.O_PATH, 0, 0)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot open %s: %w", p, err)
		}
		clone, err := cloneTree(t, "", true)
		if err == nil {
			if err = setAttr(clone, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, true); err == nil {
				err = attach(clone, t)
			}
			unix.Close(clone)
		}
		unix.Close(t)
		if err != nil {
			return fmt.Errorf("cannot make %s read-only: %w", p, err)
		}
	}
	if len(paths.Masked) == 0 {
		return nil
	}
	null, err := inRoot(b.root, "/dev/null", unix.O_PATH, 0, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	defer unix.Close(null)
	for _, p := range paths.Masked {
		if err := b.mask(p, null); err != nil {
			return fmt.Errorf("cannot mask %s: %w", p, err)
		}
	}
	return nil
}

func (b *builder) mask(p string, null int) error {
	t, err := inRoot(b.root, p, unix.O_PATH, 0, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(t)
	dir, err := isDir(t)
	if err != nil {
		return err
	}
	var cover int
	if dir {
		cover, err = fsMount("tmpfs", attrSystem|unix.MOUNT_ATTR_RDONLY, "size=4k", "nr_inodes=2", "mode=0755")
	} else {
		cover, err = cloneTree(null, "", false)
	}
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	return attach(cover, t)
}
