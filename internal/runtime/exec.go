package runtime

import (
	"context"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// exec prepares another process, by the name of at, in a running container.
func (r *Runtime) exec(ctx context.Context, at agent.ProcessRequest, req *agent.ExecRequest) error {
	c, err := r.get(at.ID)
	if err != nil {
		return err
	}
	if !validID(at.ExecID) || len(req.Args) == 0 {
		return errorf(agent.ClassInvalid, "a process needs an ID and a command")
	}
	c.mu.Lock()
	switch _, taken := c.execs[at.ExecID]; {
	case taken:
		err = errorf(agent.ClassConflict, "container %s has a process %s already", at.ID, at.ExecID)
	case !c.main.running():
		err = errorf(agent.ClassConflict, "container %s is not running", at.ID)
	case c.paused:
		err = errorf(agent.ClassConflict, "container %s is paused: unpause it first", at.ID)
	default:
		c.execs[at.ExecID] = nil // taken
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	p, err := r.execStage(ctx, c, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.execs, at.ExecID)
		return fmt.Errorf("cannot execute in the container: %w", err)
	}
	c.execs[at.ExecID] = p
	return nil
}

// enter describes a stage in the container's namespaces.
func (c *container) enter(stage string, flags int) (spawn, func(), error) {
	pidfd, err := unix.PidfdOpen(c.main.pid, 0)
	if err != nil {
		return spawn{}, nil, errorf(agent.ClassConflict, "container %s is not running", c.id)
	}
	return spawn{
		stage: stage, joins: []join{{pidfd, flags}}, setIDs: flags&unix.CLONE_NEWUSER != 0, cgroup: c.cgroup.beside(c.main.pid),
	}, func() { unix.Close(pidfd) }, nil
}

// execStage makes its stage, which waits to be started.
func (r *Runtime) execStage(ctx context.Context, c *container, req *agent.ExecRequest) (*process, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	sp, closePidfd, err := c.enter(stageExec, c.joinFlags)
	if err != nil {
		return nil, err
	}
	defer closePidfd()
	if adj := c.spec.Process.OOMScoreAdj; adj != nil {
		sp.settle = func(pid int) error { r.oomScore(pid, *adj); return nil }
	}
	io, err := newStdio(req.Terminal, req.OpenStdin, true, nil)
	if err != nil {
		return nil, err
	}
	ran := false
	cu.Add(func() {
		if !ran {
			io.abandon()
		}
	})
	pid, ctl, err := r.spawner.start(sp)
	if err != nil {
		return nil, err
	}
	cu.Add(func() {
		ctl.Close()
		unix.Kill(pid, unix.SIGKILL)
		reap(pid)
		owned.remove(pid)
	})
	owned.add(pid)
	stop := context.AfterFunc(ctx, func() { ctl.Close() })
	defer stop()

	cfg := execConfig(c, req)
	var fds []int
	if req.Terminal {
		master, slave, err := openTerminal(c.devpts)
		if err != nil {
			return nil, err
		}
		defer unix.Close(slave)
		io.setTerminal(master)
		_ = setSize(master, max(req.Width, 0), max(req.Height, 0)) // as by a resize that came late
		// It was made by this process, which the container does not know.
		if err := unix.Fchown(slave, c.rootUID, mapTTY(c)); err != nil {
			return nil, fmt.Errorf("cannot give the terminal to the container: %w", err)
		}
		cfg.Slave = 0
		fds = []int{slave}
	}
	cfg.Stdio = io.handOver(&fds)
	if err := ctl.send(cfg, fds...); err != nil {
		return nil, err
	}
	var reply stageReply
	got, err := ctl.receive(&reply)
	closeAll(got)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, errors.Join(errors.New("the process ended before it was ready"), err)
	case reply.Error != nil:
		return nil, reply.Error
	}
	io.own(mapID(c.spec.Linux.UIDMappings, reply.UID), mapID(c.spec.Linux.GIDMappings, reply.GID))
	io.handedOver()
	p, err := newProcess(pid, ctl, io, func() bool { return false }, nil)
	if err != nil {
		return nil, err
	}
	ran = true
	cu.Release()
	return p, nil
}

// mapTTY is the group of terminals, as this kernel numbers it.
func mapTTY(c *container) int {
	const tty = 5
	if gid := mapID(c.spec.Linux.GIDMappings, tty); gid >= 0 {
		return gid
	}
	return c.rootGID
}

func execConfig(c *container, req *agent.ExecRequest) processConfig {
	spec := *c.spec.Process
	spec.Args, spec.Terminal, spec.ConsoleSize = req.Args, req.Terminal, nil
	spec.Env = append(append([]string(nil), spec.Env...), req.Env...)
	if req.Cwd != "" {
		spec.Cwd = req.Cwd
	}
	cfg := processConfigOf(&spec)
	cfg.User, cfg.Groups, cfg.Seccomp = req.User, c.req.Groups, c.req.Seccomp
	if req.User == "" {
		cfg.User = c.req.User
	}
	if req.Privileged {
		cfg.Caps = allCapabilities()
		cfg.Seccomp, cfg.NoNewPrivs = nil, false
	}
	if req.Terminal {
		cfg.Width, cfg.Height = req.Width, req.Height
	}
	return cfg
}

func allCapabilities() *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: capNames, Effective: capNames, Permitted: capNames}
}
