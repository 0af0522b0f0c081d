package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// builder assembles a container's file system from inside its namespaces. It
// works on descriptors below root alone, while the kernel's own root is still
// there: a user namespace may mount proc only where one is visible already.
type builder struct {
	ctl *control

	// From lay on.
	base     *foundationStep
	root     int // the root file system's mount in this namespace
	proc     int
	sys      int // a /sys that the agent has mounted; -1: none
	devpts   int // kept open for the agent: terminals are made from it
	made     []string
	warnings []string

	// From build on.
	cfg *initConfig
	fds []int
}

const attrSystem = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NODEV

// lay attaches the root file system and mounts what every container has.
func (b *builder) lay(step *foundationStep, fds []int) error {
	want := 2 + len(step.Files)
	b.sys = -1
	if step.Sys {
		want++
	}
	if len(fds) != want {
		return fmt.Errorf("cannot use %d mounts for %d files", len(fds), len(step.Files))
	}
	if step.Sys {
		b.sys = fds[want-1]
	}
	b.base, b.root = step, fds[0]
	// Mounts of the kernel go on appearing here until the end; none goes back.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts from leaving: %w", err)
	}
	if err := unix.MoveMount(b.root, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cannot attach the root file system: %w", err)
	}
	if err := setAttr(b.root, unix.MountAttr{Propagation: unix.MS_PRIVATE}, false); err != nil {
		return fmt.Errorf("cannot make the root file system private: %w", err)
	}
	if err := b.system(fds[1]); err != nil {
		return err
	}
	if err := writeSysctls(b.proc, step.Sysctl); err != nil {
		return err
	}
	for i, path := range step.Files {
		if err := b.place(fds[2+i], path, false); err != nil {
			return err
		}
	}
	if err := b.hide(step.hidden); err != nil {
		return err
	}
	if step.Up == "" {
		return nil
	}
	for _, name := range []string{passwdFile, groupFile} {
		b.readAhead(name)
	}
	return setUp(step.Up)
}

// readAhead reads a file that will be read, so that it is in memory.
func (b *builder) readAhead(name string) {
	if fd, err := inRoot(b.root, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0, 0); err == nil {
		_, _ = readRegular(os.NewFile(uintptr(fd), name)) // who needs it tells
	}
}

func (b *builder) build(cfg *initConfig, fds []int) error {
	if b.base == nil {
		return errors.New("the container has no root file system")
	}
	b.cfg, b.fds = cfg, fds
	for _, step := range []func() error{b.openShares, b.mounts, b.files} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.hide(cfg.hidden)
}

// place attaches the detached mount fd at target and closes it.
func (b *builder) place(fd int, target string, dir bool) error {
	defer unix.Close(fd)
	t, err := mountPoint(b.root, target, dir, &b.made)
	if err != nil {
		return err
	}
	defer unix.Close(t)
	if err := attach(fd, t); err != nil {
		return fmt.Errorf("cannot mount on %s: %w", target, err)
	}
	return nil
}

// system mounts what every container has.
func (b *builder) system(dev int) error {
	for _, name := range []string{"proc", "sys", "dev"} {
		var st unix.Stat_t
		if err := unix.Fstatat(b.root, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return errorf(agent.ClassInvalid, "the image's /%s is not a directory", name)
		}
	}
	proc, err := fsMount("proc", attrSystem)
	if err != nil {
		if proc, err = b.borrow("/proc", err); err != nil {
			return err
		}
	}
	if b.proc, err = unix.FcntlInt(uintptr(proc), unix.F_DUPFD_CLOEXEC, 16); err != nil {
		return err
	}
	if err := b.place(proc, "/proc", true); err != nil {
		return err
	}
	if err := b.place(dev, "/dev", true); err != nil {
		return err
	}
	pts, err := fsMount("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
	if err != nil {
		// The group of terminals has no place in a small map of groups.
		if pts, err = fsMount("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "ptmxmode=0666", "mode=0620"); err != nil {
			return err
		}
	}
	if b.devpts, err = unix.FcntlInt(uintptr(pts), unix.F_DUPFD_CLOEXEC, 16); err != nil {
		return err
	}
	if err := b.place(pts, "/dev/pts", true); err != nil {
		return err
	}
	return b.sysfs()
}

// systemAttr are the attributes of file systems that show and change the kernel.
func (b *builder) systemAttr() int {
	if b.base.Privileged {
		return attrSystem
	}
	return attrSystem | unix.MOUNT_ATTR_RDONLY
}

func (b *builder) sysfs() error {
	sys := b.sys
	var err error
	if sys < 0 {
		sys, err = fsMount("sysfs", b.systemAttr())
	}
	if err != nil {
		if sys, err = b.borrow("/sys", err); err != nil {
			return err
		}
	}
	if err := b.place(sys, "/sys", true); err != nil {
		return err
	}
	if err := b.cgroups(); err != nil {
		return err
	}
	mq, err := fsMount("mqueue", attrSystem)
	if err != nil {
		mq, err = b.borrow("/dev/mqueue", err)
	}
	if err != nil {
		b.warnings = append(b.warnings, "the container has no POSIX message queues: "+err.Error())
		return nil
	}
	return b.place(mq, "/dev/mqueue", true)
}

// borrow binds the kernel's own instance of a file system that this user
// namespace may not mount, because it owns not the namespace that it shows.
func (b *builder) borrow(path string, why error) (int, error) {
	fd, err := cloneTree(unix.AT_FDCWD, path, true)
	if err != nil {
		return -1, fmt.Errorf("%w; nor can the kernel's own be bound: %w", why, err)
	}
	attr := unix.MountAttr{Attr_set: attrSystem, Propagation: unix.MS_PRIVATE}
	if path == "/sys" {
		attr.Attr_set = uint64(b.systemAttr())
	}
	if err := setAttr(fd, attr, true); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%w; nor can the kernel's own be restricted: %w", why, err)
	}
	return fd, nil
}

// cgroups shows the container its own cgroups.
func (b *builder) cgroups() error {
	if len(b.base.Cgroups) == 0 {
		return nil
	}
	if v := b.base.Cgroups[0]; v.V2 && v.Name == "" {
		fd, err := fsMount("cgroup2", b.systemAttr())
		if err != nil {
			b.warnings = append(b.warnings, "the container does not see its cgroup: "+err.Error())
			return nil
		}
		return b.place(fd, "/sys/fs/cgroup", true)
	}
	// sysfs is read-only, but the tmpfs over its empty directory is writable until the end.
	tmp, err := fsMount("tmpfs", attrSystem, "mode=0755", "size=64k")
	if err != nil {
		return err
	}
	keep, err := unix.FcntlInt(uintptr(tmp), unix.F_DUPFD_CLOEXEC, 16)
	if err != nil {
		return err
	}
	defer unix.Close(keep)
	if err := b.place(tmp, "/sys/fs/cgroup", true); err != nil {
		return err
	}
	for _, v := range b.base.Cgroups {
		fstype := "cgroup"
		if v.V2 {
			fstype = "cgroup2"
		}
		fd, err := fsMount(fstype, b.systemAttr(), v.Options...)
		if err == nil {
			err = b.place(fd, "/sys/fs/cgroup/"+v.Name, true)
		}
		if err != nil {
			b.warnings = append(b.warnings, "the container does not see its cgroup "+v.Name+": "+err.Error())
			continue
		}
		// Controllers that share a hierarchy are found under each name.
		if strings.Contains(v.Name, ",") {
			for name := range strings.SplitSeq(v.Name, ",") {
				if err := unix.Symlinkat(v.Name, keep, name); err != nil {
					b.warnings = append(b.warnings, "the container does not see its cgroup "+name+": "+err.Error())
				}
			}
		}
	}
	return setAttr(keep, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false)
}

// enter makes root the root of this namespace and leaves the kernel's own.
func (b *builder) enter() error {
	if err := unix.Fchdir(b.root); err != nil {
		return fmt.Errorf("cannot enter the root file system: %w", err)
	}
	// The old root ends up on top of the new one, and is taken off there (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot pivot into the root file system: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot leave the kernel's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("cannot change to the root: %w", err)
	}
	if b.cfg.ReadOnly {
		if err := setAttr(b.root, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false); err != nil {
			return fmt.Errorf("cannot make the root file system read-only: %w", err)
		}
	}
	return nil
}

// spent lists descriptors that are of no more use. They would close at execve anyway.
func (b *builder) spent() []int { return []int{b.root, b.proc} }
