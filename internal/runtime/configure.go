package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// processConfigOf takes what init and exec share from a specification.
func processConfigOf(p *specs.Process) processConfig {
	cfg := processConfig{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd, Caps: p.Capabilities, Rlimits: p.Rlimits,
		NoNewPrivs: p.NoNewPrivileges, Terminal: p.Terminal, Slave: -1, Reaper: -1, Stdio: [3]int{-1, -1, -1},
	}
	if p.ConsoleSize != nil {
		cfg.Width, cfg.Height = p.ConsoleSize.Width, p.ConsoleSize.Height
	}
	return cfg
}

// initConfig prepares all that takes this kernel's own privileges: mounts that
// map owners, device nodes, files. What only travels goes onto sent.
func (r *Runtime) initConfig(ctx context.Context, c *container, sent *cleanup.Stack) (cfg *initConfig, fds []int, err error) {
	req, linux := c.req, c.spec.Linux
	give := func(fd int) int {
		sent.Add(func() { unix.Close(fd) })
		fds = append(fds, fd)
		return len(fds) - 1
	}
	userns := -1
	if c.userNS != nil {
		userns = int(c.userNS.Fd())
	}
	cfg = &initConfig{
		processConfig: processConfigOf(c.spec.Process), ReadOnly: req.Rootfs.ReadOnly,
		Masked: linux.MaskedPaths, Readonly: linux.ReadonlyPaths, Sysctl: linux.Sysctl,
	}
	cfg.User, cfg.Groups, cfg.Seccomp, cfg.Privileged = req.User, req.Groups, req.Seccomp, req.Privileged
	if c.owns(unix.CLONE_NEWCGROUP) {
		cfg.Cgroups = r.cgroups.views
	}
	if c.fs == nil {
		if c.fs, err = r.mountRootfs(c.dir, req.Rootfs, userns, c.rootUID, c.rootGID); err != nil {
			return nil, nil, err
		}
	}
	rootfd, err := unix.FcntlInt(uintptr(c.fs.mount), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, nil, err
	}
	cfg.Rootfs = give(rootfd)
	closeAll([]int{c.fs.mount}) // the container's own mount from here on
	c.fs.mount = -1
	devices := linux.Devices
	if req.Privileged {
		all, err := allDevices("/dev")
		if err != nil {
			return nil, nil, fmt.Errorf("cannot list the devices: %w", err)
		}
		devices = append(all, devices...)
	}
	dev, err := deviceTree(devices, linux.UIDMappings, linux.GIDMappings)
	if err != nil {
		return nil, nil, err
	}
	cfg.Dev = give(dev)
	for _, m := range req.Mounts {
		sm, fd, err := r.openMount(ctx, c, m, userns)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot prepare the mount on %s: %w", m.Target, err)
		}
		if fd >= 0 {
			sm.FD = give(fd)
		}
		cfg.Mounts = append(cfg.Mounts, sm)
	}
	for i, f := range req.Files {
		fd, err := c.writeFile(i, f)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot prepare the file %s: %w", f.Path, err)
		}
		cfg.Files = append(cfg.Files, stageMount{Target: f.Path, FD: give(fd)})
	}
	if req.Init {
		program, err := unix.FcntlInt(r.spawner.program.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, nil, err
		}
		cfg.Reaper = give(program)
	}
	return cfg, fds, nil
}

// namespaceConfig describes the container's own namespaces.
func (c *container) namespaceConfig() namespaceConfig {
	return namespaceConfig{
		UserNS: c.userNS != nil, NewCgroup: c.owns(unix.CLONE_NEWCGROUP),
		NewUTS: c.owns(unix.CLONE_NEWUTS), Hostname: c.req.Hostname, Domain: c.req.Domain,
		NewNet: c.owns(unix.CLONE_NEWNET), Links: c.req.Links,
	}
}

// owns says whether the container has a namespace of a kind, and nobody else.
func (c *container) owns(flag int) bool {
	if c.joinFlags&flag == 0 {
		return false
	}
	for _, ns := range c.spec.Linux.Namespaces {
		if namespaceFlags[ns.Type] == flag && ns.Path != "" {
			return false
		}
	}
	return true
}

// writeFile keeps a file beside the container and returns a mount of it.
func (c *container) writeFile(i int, f agent.File) (int, error) {
	dir := filepath.Join(c.dir, "files")
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return -1, err
	}
	p := filepath.Join(dir, strconv.Itoa(i))
	if err := os.WriteFile(p, f.Content, 0o600); err != nil {
		return -1, err
	}
	if err := os.Chown(p, c.rootUID, c.rootGID); err != nil {
		return -1, err
	}
	mode := os.FileMode(f.Mode) & 0o777
	if mode == 0 {
		mode = 0o644
	}
	if err := os.Chmod(p, mode); err != nil {
		return -1, err
	}
	return cloneTree(unix.AT_FDCWD, p, false)
}

// openMount makes a detached mount of what a Mount names; tmpfs has none yet.
func (r *Runtime) openMount(ctx context.Context, c *container, m agent.Mount, userns int) (stageMount, int, error) {
	sm := stageMount{Target: m.Target, FD: -1, Options: m.Options, Dir: true, CopyUp: m.CopyUp, ReadOnly: m.ReadOnly}
	if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
		return sm, -1, errorf(agent.ClassInvalid, "%q is no place to mount on", m.Target)
	}
	source := m.Source
	switch m.Type {
	case agent.MountTmpfs:
		return sm, -1, nil
	case agent.MountShare:
		return r.openShare(ctx, c, m, sm)
	case agent.MountBind:
	default:
		return sm, -1, errorf(agent.ClassInvalid, "mounts of type %q are not supported", m.Type)
	}
	if !filepath.IsAbs(source) {
		return sm, -1, errorf(agent.ClassInvalid, "%q is not an absolute path", source)
	}
	fd := -1
	err := inMounts(r.cfg.HostMounts, func() error {
		src, err := unix.Open(source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return errorf(agent.ClassInvalid, "cannot open %s: %w", source, err)
		}
		defer unix.Close(src)
		if sm.Dir, err = isDir(src); err != nil {
			return err
		}
		if fd, err = bindMapped(src, userns); err != nil {
			return fmt.Errorf("cannot bind %s: %w", source, err)
		}
		return nil
	})
	if err != nil {
		return sm, -1, err
	}
	attr, err := bindAttr(m)
	if err == nil {
		err = setAttr(fd, attr, true)
	}
	if err != nil {
		unix.Close(fd)
		return sm, -1, err
	}
	return sm, fd, nil
}

// inMounts runs f on a thread that stands in a mount namespace.
func inMounts(ns *os.File, f func() error) error {
	if ns == nil {
		return f()
	}
	failed := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		failed <- func() error {
			// Threads share their root and working directory until they do not.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("cannot leave the agent's root: %w", err)
			}
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("cannot enter the host's mount namespace: %w", err)
			}
			return f()
		}()
	}()
	return <-failed
}

// bindMapped clones a tree of mounts with the owners mapped into userns. File
// systems that cannot (proc, some network and FUSE ones) are bound as they
// are: then files belong to nobody in the container.
func bindMapped(src, userns int) (int, error) {
	if userns >= 0 {
		for _, recursive := range []bool{true, false} {
			fd, err := cloneTree(src, "", true)
			if err != nil {
				return -1, err
			}
			err = setAttr(fd, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)}, recursive)
			if err == nil {
				return fd, nil
			}
			unix.Close(fd)
		}
	}
	return cloneTree(src, "", true)
}

func bindAttr(m agent.Mount) (attr unix.MountAttr, err error) {
	attr.Propagation = unix.MS_PRIVATE
	switch m.Propagation {
	case "", "private", "rprivate":
	case "slave", "rslave", "shared", "rshared":
		// The agent's own mounts are slaves of the host's: what is mounted
		// there appears here, never the reverse.
		attr.Propagation = unix.MS_SLAVE
	default:
		return attr, errorf(agent.ClassInvalid, "unknown propagation %q", m.Propagation)
	}
	for _, o := range m.Options {
		switch o {
		case "nosuid":
			attr.Attr_set |= unix.MOUNT_ATTR_NOSUID
		case "nodev":
			attr.Attr_set |= unix.MOUNT_ATTR_NODEV
		case "noexec":
			attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
		case "ro":
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
	}
	if m.ReadOnly && !m.CopyUp {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	return attr, nil
}
