package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

const noExec = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// systemMounts is what every Linux program expects to find.
var systemMounts = []mount{
	{"proc", "/proc", "proc", noExec, ""},
	{"sysfs", "/sys", "sysfs", noExec, ""},
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", noExec, ""},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", noExec, "nsdelegate,memory_recursiveprot"},
}

// mountSystem makes the initramfs a root that containers can be made on.
func mountSystem() error {
	if err := leaveRootfs(); err != nil {
		return err
	}
	for _, m := range systemMounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("cannot make %s: %w", m.target, err)
		}
		err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data)
		if err == unix.EINVAL && m.fstype == "cgroup2" {
			err = unix.Mount(m.source, m.target, m.fstype, m.flags, "") // options of newer kernels
		}
		if err != nil && m.fstype != "mqueue" {
			return fmt.Errorf("cannot mount %s on %s: %w", m.fstype, m.target, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		os.Remove(filepath.Join("/dev", name))
		if err := os.Symlink(to, filepath.Join("/dev", name)); err != nil {
			return fmt.Errorf("cannot make /dev/%s: %w", name, err)
		}
	}
	return enableControllers()
}

// leaveRootfs puts a mount of the initramfs over the initramfs itself:
// pivot_root(2) refuses to work on the root of all mounts, and
// user namespaces need a root that is not changed by chroot alone, which a
// mount that was moved onto "/" is not (current_chrooted in fs/namespace.c).
func leaveRootfs() error {
	const dir = "/run"
	if err := unix.Mount("/", dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind the root: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("cannot move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("cannot enter the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Containers choose what they propagate; nothing leaks by default.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the root private: %w", err)
	}
	return nil
}

// enableControllers lets cgroups below the root limit everything that this
// kernel can limit. The root may hold processes all the same (cgroup-v2.rst).
func enableControllers() error {
	b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("cannot read the cgroup controllers: %w", err)
	}
	for c := range strings.FieldsSeq(string(b)) {
		// One that cannot be enabled (cpu beside real-time processes) keeps the others.
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+c), 0)
	}
	return nil
}
