package runtime

import (
	"context"
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
	c.forgetEnded(req.Collected)
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
	p, err := r.execChild(ctx, c, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.execs, at.ExecID)
		return fmt.Errorf("cannot execute in the container: %w", err)
	}
	c.execs[at.ExecID] = p
	return nil
}

// execChild makes its child, which waits to be started.
func (r *Runtime) execChild(ctx context.Context, c *container, req *agent.ExecRequest) (*process, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	pidfd, err := unix.PidfdOpen(c.main.pid, 0)
	if err != nil {
		return nil, errorf(agent.ClassConflict, "container %s is not running", c.id)
	}
	defer unix.Close(pidfd)
	sp := spawn{
		joins: []join{{pidfd, c.joinFlags}}, setIDs: c.joinFlags&unix.CLONE_NEWUSER != 0, cgroup: c.cgroup.beside(c.main.pid),
	}
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
		cfg.Slave = 0
		fds = []int{slave}
	}
	cfg.Stdio = io.handOver(&fds)
	w, err := newWorkload(&cfg, fds)
	if err != nil {
		return nil, err
	}
	pid, waits, err := r.spawner.exec(ctx, sp, w, func(passwd, group []byte) (identity, error) {
		return lookupUser(cfg.User, cfg.Groups, passwd, group)
	})
	if err != nil {
		return nil, err
	}
	cu.Add(func() {
		waits.close()
		end(pid)
		owned.remove(pid)
	})
	owned.add(pid)
	uid, gid := mapID(c.spec.Linux.UIDMappings, int(w.id.uid)), mapID(c.spec.Linux.GIDMappings, int(w.id.gid))
	if req.Terminal {
		// It was made by this process, which the container does not know.
		owner := uid
		if owner < 0 {
			owner = c.rootUID
		}
		if err := unix.Fchown(w.terminal, owner, mapTTY(c)); err != nil {
			return nil, fmt.Errorf("cannot give the terminal to the container: %w", err)
		}
	}
	io.own(uid, gid)
	io.handedOver()
	p, err := newProcess(pid, waits, io, func() bool { return false }, nil)
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
