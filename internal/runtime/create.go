package runtime

import (
	"context"
	"fmt"
	"io"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/logs"
)

var namespaceFlags = map[specs.LinuxNamespaceType]int{
	specs.UserNamespace: unix.CLONE_NEWUSER, specs.MountNamespace: unix.CLONE_NEWNS,
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS,
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
}

// Create makes a container up to, and not including, its workload's execve,
// and returns the PID of its first process. On error nothing is left.
func (r *Runtime) Create(ctx context.Context, req *agent.CreateRequest) (pid int, err error) {
	if err := checkCreate(req); err != nil {
		return 0, err
	}
	c := &container{
		id: req.ID, req: req, spec: req.Spec, devpts: -1, execs: map[string]*process{},
	}
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return 0, errorf(agent.ClassConflict, "the agent is shutting down")
	case r.containers[req.ID] != nil:
		r.mu.Unlock()
		return 0, errorf(agent.ClassConflict, "container %s exists", req.ID)
	}
	r.containers[req.ID] = c
	r.mu.Unlock()

	err = r.create(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(r.containers, req.ID)
		return 0, fmt.Errorf("cannot create container: %w", err)
	}
	c.created = true
	return c.main.pid, nil
}

func checkCreate(req *agent.CreateRequest) error {
	switch s := req.Spec; {
	case !validID(req.ID):
		return errorf(agent.ClassInvalid, "%q is no container ID", req.ID)
	case s == nil || s.Process == nil || s.Linux == nil:
		return errorf(agent.ClassInvalid, "the specification lacks a process or its linux part")
	case len(s.Process.Args) == 0:
		return errorf(agent.ClassInvalid, "there is no command to run")
	}
	return nil
}

func (r *Runtime) create(ctx context.Context, c *container) error {
	var cu, fdsOfNS cleanup.Stack
	defer cu.Clean()
	defer fdsOfNS.Clean()
	flags, joins, err := r.namespaces(c, &fdsOfNS)
	if err != nil {
		return err
	}
	linux := c.spec.Linux
	if (flags|c.joinFlags)&unix.CLONE_NEWUSER != 0 {
		c.rootUID, c.rootGID = mapID(linux.UIDMappings, 0), mapID(linux.GIDMappings, 0)
		if c.rootUID < 0 || c.rootGID < 0 {
			return errorf(agent.ClassInvalid, "the container's user namespace has no root")
		}
	}
	nic := ""
	if len(c.req.Links) > 0 {
		nic = c.req.Links[0].Name
	}
	wanted := c.req.Foundation()
	b := r.take(flags, joins, nic, wanted)
	if b == nil {
		if b, err = r.newBlank(c.id, flags, joins); err != nil {
			return err
		}
	}
	c.cgroup = b.cgroup
	cu.Add(func() {
		if err := b.drop(context.WithoutCancel(ctx)); err != nil {
			r.log.Warn("a cgroup was left", "container", c.id, "error", err)
		}
	})
	var early, late specs.LinuxResources
	if linux.Resources != nil {
		early, late.Pids = *linux.Resources, linux.Resources.Pids
		early.Pids = nil
	}
	if err := c.cgroup.apply(&early); err != nil {
		return err
	}
	if err := c.cgroup.devices(c.deviceRules()); err != nil {
		return err
	}
	if c.spec.Process.OOMScoreAdj != nil {
		r.oomScore(b.pid, *c.spec.Process.OOMScoreAdj)
	}
	laid := b.base != nil
	if !laid {
		if b.base, err = r.survey(b, flags, c.joinFlags&unix.CLONE_NEWUSER != 0, wanted); err != nil {
			return err
		}
	}
	c.joinFlags |= flags
	c.dir, c.userNS = b.base.dir, b.base.userNS
	pid, ctl := b.pid, b.ctl
	stop := context.AfterFunc(ctx, func() { ctl.Close() })
	defer stop()

	if c.mntNS, err = os.Open(procPath(pid, "ns/mnt")); err != nil {
		return fmt.Errorf("cannot open the mount namespace: %w", err)
	}
	cu.Add(func() { c.mntNS.Close() })
	log, err := openLog(c.req)
	if err != nil {
		return err
	}
	io, err := newStdio(c.spec.Process.Terminal, c.req.OpenStdin, c.req.StdinOnce, log)
	if err != nil {
		return err
	}
	io.frame = c.req.LogBound.Frame()
	io.logFails = func(err error) {
		r.log.Error("output of a container is not logged", "container", c.id, "error", err)
	}
	ran := false
	cu.Add(func() {
		if !ran {
			io.abandon()
		}
	})
	reply, fds, err := r.configure(ctx, c, b, io, laid, c.foreignNetwork(joins))
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	// Not before: a Go program that is refused a thread dies.
	if err := c.cgroup.apply(&late); err != nil {
		closeAll(fds)
		return err
	}
	c.devpts = fds[0]
	cu.Add(func() { closeAll([]int{c.devpts}); c.devpts = -1 })
	if len(fds) > 1 {
		io.setTerminal(fds[1])
	}
	if err := c.rememberMade(reply.Made, r.log); err != nil {
		return err
	}
	for _, w := range reply.Warnings {
		r.log.Warn(w, "container", c.id)
	}
	io.own(mapID(linux.UIDMappings, reply.UID), mapID(linux.GIDMappings, reply.GID))
	io.handedOver()
	c.main, err = newProcess(pid, stageWaiter{ctl}, io, func() bool { return c.cgroup.oomKilled() }, nil)
	if err != nil {
		return err
	}
	ran = true
	cu.Release()
	closeAll([]int{b.base.dev})
	return nil
}

// openLog opens the sink for output frames; an empty path is none.
func openLog(req *agent.CreateRequest) (io.Writer, error) {
	if req.Log == "" {
		return nil, nil
	}
	return logs.Open(req.Log, req.LogBound)
}

// oomScore is best effort: lowering a score takes CAP_SYS_RESOURCE.
func (r *Runtime) oomScore(pid, score int) {
	if err := os.WriteFile(procPath(pid, "oom_score_adj"), fmt.Append(nil, score), 0); err != nil {
		r.log.Warn("the out-of-memory score stays as it is", "want", score, "error", err)
	}
}
