package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// configure tells the init stage what it needs, and waits until it is ready.
// Much of what the one does, the other need not wait for. laid says that the
// stage was told of the foundation before. netns is what /sys has to show if the container
// cannot mount it itself, else -1.
func (r *Runtime) configure(ctx context.Context, c *container, b *blank, io *stdio, laid bool, netns int) (reply stageReply, fds []int, err error) {
	var sent cleanup.Stack // descriptors that the stage gets
	defer sent.Clean()
	defer c.closeShares()
	if c.owns(unix.CLONE_NEWNET) {
		for _, l := range c.req.Links {
			if l.Above || l.Name == b.nic {
				continue
			}
			if err := r.moveLink(ctx, l.Name, b.pid); err != nil {
				return reply, nil, err
			}
		}
	}
	names := &nameStep{NewUTS: c.owns(unix.CLONE_NEWUTS), Hostname: c.req.Hostname, Domain: c.req.Domain}
	if c.owns(unix.CLONE_NEWNET) {
		names.Links = c.req.Links
	}
	_ = b.ctl.send(stageStep{Names: names}) // a stage that has failed by now has said why
	if !laid {
		var views []cgroupView
		if c.owns(unix.CLONE_NEWCGROUP) {
			views = r.cgroups.views
		}
		sys := -1
		if netns >= 0 {
			if sys, err = sysfsOf(netns); err != nil {
				return reply, nil, err
			}
		}
		if err := r.lay(b, b.base, views, "", sys); err != nil {
			return reply, nil, err
		}
	}
	c.fs = b.base.fs
	if err := b.base.fill(c.req.Files); err != nil {
		return reply, nil, err
	}
	if err := b.base.addDevices(c.spec.Linux.Devices); err != nil {
		return reply, nil, err
	}
	cfg, give, err := r.initConfig(ctx, c, &sent)
	if err != nil {
		return reply, nil, err
	}
	cfg.Stdio = io.handOver(&give)
	_ = b.ctl.send(stageStep{Init: cfg}, give...)
	if fds, err = r.receiveReady(c, b.ctl, &reply); err != nil {
		if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.ECONNRESET) || strings.Contains(err.Error(), "EOF") {
			err = errors.New("the container's first process ended before it was ready")
			if c.cgroup.oomKilled() {
				err = errorf(agent.ClassInvalid, "the memory limit is too small for the container to begin")
			}
		}
		return reply, nil, err
	}
	want := 1
	if cfg.Terminal {
		want = 2
	}
	if reply.Error == nil && len(fds) != want {
		err = fmt.Errorf("the container's first process sent %d descriptors, not %d", len(fds), want)
	} else if reply.Error != nil {
		err = reply.Error
	}
	if err != nil {
		closeAll(fds)
		return reply, nil, err
	}
	return reply, fds, nil
}

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
		hidden: hidden{Masked: c.covered(linux.MaskedPaths), Readonly: c.covered(linux.ReadonlyPaths)},
	}
	cfg.User, cfg.Groups, cfg.Seccomp = req.User, req.Groups, req.Seccomp
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
		if len(c.covered([]string{f.Path})) == 0 {
			continue // it was placed with the foundation
		}
		fd, err := cloneTree(unix.AT_FDCWD, filePath(c.dir, i), false)
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

// covered returns those of paths over which the container mounts something.
func (c *container) covered(paths []string) (list []string) {
	for _, p := range paths {
		if slices.ContainsFunc(c.req.Mounts, func(m agent.Mount) bool {
			target := filepath.Clean(m.Target)
			return target == "/" || p == target || strings.HasPrefix(p, target+"/")
		}) {
			list = append(list, p)
		}
	}
	return list
}

// openMount makes a detached mount of what a Mount names; tmpfs has none yet.
func (r *Runtime) openMount(ctx context.Context, c *container, m agent.Mount, userns int) (stageMount, int, error) {
	sm := stageMount{Target: m.Target, FD: -1, Options: m.Options, Dir: true, CopyUp: m.CopyUp, ReadOnly: m.ReadOnly}
	if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
		return sm, -1, errorf(agent.ClassInvalid, "%q is no place to mount on", m.Target)
	}
	source := m.Source
	switch m.Type {
	case agent.MountTmpfs, agent.MountOf:
		if m.Type == agent.MountTmpfs && !m.Shareable {
			return sm, -1, nil
		}
		fd, err := r.openShm(c, m)
		return sm, fd, err
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
	return onThread(func() error {
		// Threads share their root and working directory until they do not.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("cannot leave the agent's root: %w", err)
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("cannot enter the host's mount namespace: %w", err)
		}
		return f()
	})
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
