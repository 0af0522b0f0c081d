package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// A namespace belongs to a user namespace, and only who has privileges in that
// one may do with it what a container's first process has to: mount what shows
// it, set its parameters. So who joins another container's namespaces joins its
// users as well (the caller asks for it): it gets what that container has, and
// nothing of anybody else. It joins as the agent, before it gives its own
// privileges up, and what it is until then no process of the other one can look
// into: see sealedSelf.

// procNames are the files of /proc/PID/ns.
var procNames = map[specs.LinuxNamespaceType]string{
	specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts",
}

// namespaces sorts the wanted namespaces into those to make and those to join.
func (r *Runtime) namespaces(c *container, cu *cleanup.Stack) (flags int, joins []join, err error) {
	var user []join
	for _, ns := range c.spec.Linux.Namespaces {
		flag, ok := namespaceFlags[ns.Type]
		if !ok {
			return 0, nil, errorf(agent.ClassInvalid, "namespaces of type %q are not supported", ns.Type)
		}
		if ns.Path == "" {
			flags |= flag
			continue
		}
		fd, err := r.namespaceOf(c, ns)
		if err != nil {
			return 0, nil, err
		}
		cu.Add(func() { unix.Close(fd) })
		c.joinFlags |= flag
		if flag == unix.CLONE_NEWUSER {
			user = append(user, join{fd, flag})
		} else {
			joins = append(joins, join{fd, flag})
		}
	}
	if flags&unix.CLONE_NEWNS == 0 {
		return 0, nil, errorf(agent.ClassInvalid, "a container needs a mount namespace of its own")
	}
	if flags&unix.CLONE_NEWUSER != 0 && len(c.spec.Linux.UIDMappings) == 0 {
		return 0, nil, errorf(agent.ClassInvalid, "a user namespace needs a map of users")
	}
	return flags, append(joins, user...), nil // the users last: with them go the privileges over the others
}

// namespaceOf opens a namespace of a container that runs.
func (r *Runtime) namespaceOf(c *container, ns specs.LinuxNamespace) (int, error) {
	other, err := r.donor(ns.Path)
	if err != nil {
		return -1, err
	}
	defer other.op.Unlock()
	if ns.Type == specs.UserNamespace {
		// The one that it was given: its process may have made others.
		if other.userNS == nil {
			return -1, errorf(agent.ClassInvalid, "container %s has no user namespace of its own", other.id)
		}
		mine, its := c.spec.Linux, other.spec.Linux
		if !reflect.DeepEqual(mine.UIDMappings, its.UIDMappings) || !reflect.DeepEqual(mine.GIDMappings, its.GIDMappings) {
			return -1, errorf(agent.ClassInvalid, "the users of container %s are mapped in another way", other.id)
		}
		return unix.FcntlInt(other.userNS.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	}
	name, ok := procNames[ns.Type]
	if !ok {
		return -1, errorf(agent.ClassInvalid, "namespaces of type %q cannot be joined", ns.Type)
	}
	fd, err := unix.Open(procPath(other.main.pid, "ns", name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = other.main.signal(0); err == nil { // the number was its own when it was opened
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, errorf(agent.ClassConflict, "container %s is not running", other.id)
}

// donor is the container that runs and whose ID follows agent.JoinPrefix. The
// caller unlocks its op, without which it may be taken away.
func (r *Runtime) donor(path string) (*container, error) {
	id, ok := strings.CutPrefix(path, agent.JoinPrefix)
	if !ok {
		return nil, errorf(agent.ClassInvalid, "%q names no container to join", path)
	}
	c, err := r.get(id)
	if err != nil {
		return nil, err
	}
	c.op.Lock()
	if c.gone || !c.main.running() {
		c.op.Unlock()
		return nil, errorf(agent.ClassConflict, "container %s is not running", id)
	}
	return c, nil
}

// linkFile gives a container the file that another has at a path: the same one,
// so that what is written to it both see, and which it keeps when the other is
// gone.
func (r *Runtime) linkFile(file agent.File, to string) error {
	other, err := r.donor(agent.JoinPrefix + file.Of)
	if err != nil {
		return err
	}
	defer other.op.Unlock()
	i := slices.IndexFunc(other.req.Files, func(f agent.File) bool { return f.Path == file.Path })
	if i < 0 {
		return errorf(agent.ClassInvalid, "container %s has no file %s to share", other.id, file.Path)
	}
	return os.Link(filePath(other.dir, i), to)
}

// foreignNetwork returns a descriptor of the joined network namespace if it
// belongs to other users than the container's, who have no privileges in it;
// else -1.
func (c *container) foreignNetwork(joins []join) int {
	i := slices.IndexFunc(joins, func(j join) bool { return j.flags == unix.CLONE_NEWNET })
	if i < 0 || c.userNS == nil {
		return -1
	}
	owner, err := unix.IoctlRetInt(joins[i].fd, unix.NS_GET_USERNS) // ioctl_ns(2)
	if err != nil {
		return joins[i].fd
	}
	defer unix.Close(owner)
	var its, mine unix.Stat_t
	if unix.Fstat(owner, &its) == nil && unix.Fstat(int(c.userNS.Fd()), &mine) == nil && its.Ino == mine.Ino {
		return -1
	}
	return joins[i].fd
}

// sysfsOf mounts, detached, the /sys that shows a network namespace, which a
// container may not do whose users have no privileges there: it would see the
// interfaces of this kernel's own.
func sysfsOf(netns int) (fd int, err error) {
	err = inNetwork(netns, func() error {
		fd, err = fsMount("sysfs", attrSystem|unix.MOUNT_ATTR_RDONLY)
		return err
	})
	return fd, err
}

// sharedShm is where, in a container's directory, the file system of shared
// memory is attached that others may have as well.
func sharedShm(dir string) string { return filepath.Join(dir, "shm") }

// dropShm takes it off; most have none.
func dropShm(dir string) { _ = unix.Unmount(sharedShm(dir), unix.MNT_DETACH) }

// openShm makes the file system of a shareable mount, or takes another
// container's. Either is attached beside the container for those that come.
func (r *Runtime) openShm(c *container, m agent.Mount) (fd int, err error) {
	if m.Type == agent.MountOf {
		other, err := r.donor(agent.JoinPrefix + m.Source)
		if err != nil {
			return -1, err
		}
		defer other.op.Unlock()
		if fd, err = cloneTree(unix.AT_FDCWD, sharedShm(other.dir), false); errors.Is(err, unix.ENOENT) {
			return -1, errorf(agent.ClassInvalid, "container %s has no shared memory that others may have", other.id)
		} else if err != nil {
			return -1, fmt.Errorf("cannot have the shared memory of container %s: %w", other.id, err)
		}
	} else {
		attrs, options := tmpfsOptions(m.Options)
		if fd, err = fsMount("tmpfs", attrs, options...); err != nil {
			return -1, err
		}
		linux := c.spec.Linux
		if err := unix.Fchownat(fd, "", mapID(linux.UIDMappings, 0), mapID(linux.GIDMappings, 0), unix.AT_EMPTY_PATH); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("cannot give the shared memory to the container: %w", err)
		}
	}
	defer unix.Close(fd)
	if err := os.Mkdir(sharedShm(c.dir), 0o700); err != nil {
		return -1, fmt.Errorf("cannot make a mount point: %w", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, sharedShm(c.dir), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, fmt.Errorf("cannot attach the shared memory: %w", err)
	}
	return cloneTree(unix.AT_FDCWD, sharedShm(c.dir), false)
}
