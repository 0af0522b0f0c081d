package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// rootfs is a container's mounted root file system, as its agent holds it.
type rootfs struct {
	layers []*layerMount // lowest first
	upper  string        // directory that has upper and work in it
	mount  int           // the overlay, detached
	undo   func()
}

// maxLayers is what overlayfs stacks and docker allows.
const maxLayers = 127

// mountRootfs stacks layers and a writable directory. dir is the container's
// private directory. userns is -1, or a user namespace in which the files
// shall belong to whom they belong to on disk.
func (r *Runtime) mountRootfs(dir string, spec agent.Rootfs, userns int, rootUID, rootGID int) (*rootfs, error) {
	if len(spec.Layers) == 0 || len(spec.Layers) > maxLayers {
		return nil, &agent.Error{Class: agent.ClassInvalid, Message: fmt.Sprintf("a root file system has 1 to %d layers, not %d", maxLayers, len(spec.Layers))}
	}
	var cu cleanup.Stack
	defer cu.Clean()
	fs := &rootfs{mount: -1}
	for _, l := range spec.Layers {
		m, err := r.layers.acquire(l)
		if err != nil {
			return nil, err
		}
		cu.Add(func() { r.layers.release(m) })
		fs.layers = append(fs.layers, m)
	}
	switch {
	case spec.Upper.Dir != "" && spec.Upper.Device == "":
		fs.upper = spec.Upper.Dir
	case spec.Upper.Device != "" && spec.Upper.Dir == "":
		fs.upper = filepath.Join(dir, "disk")
		if err := os.Mkdir(fs.upper, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make a mount point: %w", err)
		}
		cu.Add(func() { os.Remove(fs.upper) })
		fd, err := fsMount("ext4", 0, "source="+spec.Upper.Device, "discard")
		if err != nil {
			return nil, fmt.Errorf("cannot mount the writable disk: %w", err)
		}
		err = unix.MoveMount(fd, "", unix.AT_FDCWD, fs.upper, unix.MOVE_MOUNT_F_EMPTY_PATH)
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("cannot attach the writable disk: %w", err)
		}
		cu.Add(func() { unix.Unmount(fs.upper, unix.MNT_DETACH) })
	default:
		return nil, &agent.Error{Class: agent.ClassInvalid, Message: "the writable layer is a directory or a device, one of them"}
	}
	for _, name := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(fs.upper, name), 0o755); err != nil && !os.IsExist(err) {
			return nil, fmt.Errorf("cannot make the writable layer: %w", err)
		}
	}
	var err error
	if fs.mount, err = overlay(dir, fs, userns, rootUID, rootGID); err != nil {
		return nil, err
	}
	fs.undo = cu.Release()
	return fs, nil
}

// close gives everything back; a container that still has it mounted keeps the file systems alive.
func (fs *rootfs) close() {
	closeAll([]int{fs.mount})
	fs.mount = -1
	fs.undo()
}

// overlayOptions keep out of the writable layer what diff and another kernel
// could not read. Parameters of a kernel that lacks one fail, so each is tried.
var overlayOptions = []string{"redirect_dir=nofollow", "metacopy=off", "index=off", "xino=off"}

// overlay stacks the layers of fs and returns the mount, detached.
func overlay(dir string, fs *rootfs, userns int, uid, gid int) (int, error) {
	if stacksDetached() {
		return overlayDetached(fs, userns, uid, gid)
	}
	return overlayAttached(dir, fs, userns, uid, gid)
}

// stacksDetached says whether overlayfs takes descriptors, of mounts that are
// attached nowhere: Linux 6.15. Attaching them is quick, but the kernel lets a
// grace period pass when they are taken off again.
var stacksDetached = sync.OnceValue(func() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 15)
})

func overlayDetached(fs *rootfs, userns int, uid, gid int) (mount int, err error) {
	var cu cleanup.Stack
	defer cu.Clean()
	open := func(path string) (int, error) {
		fd, err := mappedTree(path, userns)
		if err == nil {
			cu.Add(func() { unix.Close(fd) })
		}
		return fd, err
	}
	type part struct {
		key string
		fd  int
	}
	var parts []part
	for i := len(fs.layers) - 1; i >= 0; i-- { // overlayfs wants the highest first
		fd, err := open(fs.layers[i].dir)
		if err != nil {
			return -1, err
		}
		parts = append(parts, part{"lowerdir+", fd})
	}
	if fs.upper != "" {
		upper, err := open(fs.upper)
		if err != nil {
			return -1, err
		}
		for _, d := range [][2]string{{"upperdir", "upper"}, {"workdir", "work"}} {
			fd, err := unix.Openat(upper, d[1], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			if err != nil {
				return -1, fmt.Errorf("cannot open the writable layer: %w", err)
			}
			cu.Add(func() { unix.Close(fd) })
			parts = append(parts, part{d[0], fd})
		}
	}
	err = asOwner(uid, gid, func() error {
		ctx, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
		if err != nil {
			return err
		}
		defer unix.Close(ctx)
		for _, p := range parts {
			if err := unix.FsconfigSetFd(ctx, p.key, p.fd); err != nil {
				return fmt.Errorf("%s: %w%s", p.key, err, fsLog(ctx))
			}
		}
		for _, o := range append([]string{"source=overlay"}, overlayOptions...) {
			key, value, _ := strings.Cut(o, "=")
			if err := unix.FsconfigSetString(ctx, key, value); err != nil {
				return fmt.Errorf("%s: %w%s", o, err, fsLog(ctx))
			}
		}
		if err := unix.FsconfigCreate(ctx); err != nil {
			return fmt.Errorf("%w%s", err, fsLog(ctx))
		}
		mount, err = unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, overlayAttr(userns))
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("cannot stack %d layers: %w", len(fs.layers), err)
	}
	return mount, nil
}

// overlayAttr: device nodes of an image belong to this kernel's own user
// namespace and would work; they are none of a container's.
func overlayAttr(userns int) int {
	if userns >= 0 {
		return unix.MOUNT_ATTR_NODEV
	}
	return 0
}

// mappedTree returns a detached mount of a directory, with the owners of its
// files mapped into userns; -1: a descriptor of the directory as it is.
func mappedTree(path string, userns int) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if userns < 0 {
		return fd, nil
	}
	defer unix.Close(fd)
	clone, err := cloneTree(fd, "", false)
	if err != nil {
		return -1, fmt.Errorf("cannot clone the mount of %s: %w", path, err)
	}
	if err := setAttr(clone, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)}, false); err != nil {
		unix.Close(clone)
		return -1, fmt.Errorf("cannot map the owners of %s: %w: its file system must support idmapped mounts (or use --userns host)", path, err)
	}
	return clone, nil
}

// overlayAttached does it with the older kernels' call. Overlayfs takes clones
// of the mounts that it is given, so the idmapped ones need to be attached only
// until it is mounted.
func overlayAttached(dir string, fs *rootfs, userns int, uid, gid int) (int, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	var lower []string
	open := func(name, path string) (string, error) {
		fd, err := mappedTree(path, userns)
		if err != nil {
			return "", err
		}
		cu.Add(func() { unix.Close(fd) })
		if userns >= 0 {
			at := filepath.Join(dir, name)
			if err := os.Mkdir(at, 0o700); err != nil {
				return "", fmt.Errorf("cannot make a mount point: %w", err)
			}
			cu.Add(func() { os.Remove(at) })
			if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
				return "", fmt.Errorf("cannot attach the mapped mount of %s: %w", path, err)
			}
			cu.Add(func() { unix.Unmount(at, unix.MNT_DETACH) })
		}
		return "/proc/self/fd/" + strconv.Itoa(fd), nil
	}
	for i := len(fs.layers) - 1; i >= 0; i-- { // overlayfs wants the highest first
		l, err := open("l"+strconv.Itoa(i), fs.layers[i].dir)
		if err != nil {
			return -1, err
		}
		lower = append(lower, l)
	}
	data := "lowerdir=" + strings.Join(lower, ":")
	if fs.upper != "" {
		upper, err := open("u", fs.upper)
		if err != nil {
			return -1, err
		}
		data += ",upperdir=" + upper + "/upper,workdir=" + upper + "/work"
	}
	data += "," + strings.Join(overlayOptions, ",")

	at := filepath.Join(dir, "merged")
	if err := os.Mkdir(at, 0o700); err != nil {
		return -1, fmt.Errorf("cannot make a mount point: %w", err)
	}
	cu.Add(func() { os.Remove(at) })
	flags := uintptr(0)
	if overlayAttr(userns) != 0 {
		flags |= unix.MS_NODEV
	}
	if err := asOwner(uid, gid, func() error { return unix.Mount("overlay", at, "overlay", flags, data) }); err != nil {
		return -1, fmt.Errorf("cannot stack %d layers: %w", len(lower), err)
	}
	cu.Add(func() { unix.Unmount(at, unix.MNT_DETACH) })
	fd, err := cloneTree(unix.AT_FDCWD, at, false)
	if err != nil {
		return -1, fmt.Errorf("cannot detach the root file system: %w", err)
	}
	return fd, nil
}

// asOwner runs f on a thread that creates files as uid:gid and has all
// capabilities of this process. Overlayfs keeps these credentials for what it
// does by itself, and a mapped mount refuses owners outside of its map.
func asOwner(uid, gid int, f func() error) error {
	if uid == 0 && gid == 0 {
		return f()
	}
	return onThread(func() error {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&head, &caps[0]); err != nil {
			return fmt.Errorf("cannot read capabilities: %w", err)
		}
		unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
		unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
		if err := unix.Capset(&head, &caps[0]); err != nil { // setfsuid dropped some
			return fmt.Errorf("cannot keep capabilities: %w", err)
		}
		return f()
	})
}
