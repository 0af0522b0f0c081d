package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/share/guest"
)

// container is one container, from create to delete.
type container struct {
	id      string
	created bool // guarded by Runtime.mu: until then only create uses it

	dir    string // the agent's private directory for it
	spec   *specs.Spec
	req    *agent.CreateRequest
	fs     *rootfs
	cgroup *cgroup
	main   *process

	joinFlags     int      // namespaces of its own that a further process enters
	mntNS, userNS *os.File // as long as the container is there; userNS nil: this kernel's
	devpts        int
	rootUID       int // on this kernel
	rootGID       int
	made          []string       // mount points that were made in the writable layer
	shares        []*guest.Share // while it is created: for the stage to mount, in the order of its mounts

	op sync.Mutex // serialises pause, resume, update, delete

	mu     sync.Mutex
	paused bool
	execs  map[string]*process
	gone   bool // deleted
}

func (c *container) process(execID string) (*process, error) {
	if execID == "" {
		return c.main, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.execs[execID]; p != nil {
		return p, nil
	}
	return nil, errorf(agent.ClassNoContainer, "container %s has no process %s", c.id, execID)
}

// describe may be called with Runtime.mu held.
func (c *container) describe() agent.Container {
	state, started, exit := c.main.describe()
	c.mu.Lock()
	if c.paused && state == agent.StateRunning {
		state = agent.StatePaused
	}
	c.mu.Unlock()
	d := agent.Container{ID: c.id, State: state, StartedAt: started, Exit: exit}
	if exit == nil {
		d.PID = c.main.pid
	}
	return d
}

// mapID turns an ID of the container into one of this kernel.
func mapID(maps []specs.LinuxIDMapping, id int) int {
	if len(maps) == 0 {
		return id
	}
	for _, m := range maps {
		if off := int64(id) - int64(m.ContainerID); off >= 0 && off < int64(m.Size) {
			return int(int64(m.HostID) + off)
		}
	}
	return -1
}

// Start lets a process's execve happen, and tells begun when it has. With
// Attach it goes on as Attach does, and ends with a frame that tells the exit.
func (r *Runtime) Start(ctx context.Context, req *agent.StartRequest, conn io.ReadWriter, begun func(agent.ProcessResponse) error) error {
	var started agent.ProcessResponse
	if req.Create != nil {
		began := time.Now()
		if _, err := r.Create(ctx, req.Create); err != nil {
			return err
		}
		started.CreateTook = time.Since(began)
	}
	tied := req.Exec != nil && req.Exec.Tied
	if tied && req.Attach == nil {
		return errorf(agent.ClassInvalid, "a process that is tied to a call needs one that attaches")
	}
	if req.Exec != nil {
		if err := r.exec(ctx, req.ProcessRequest, req.Exec); err != nil {
			return err
		}
	}
	p, err := r.process(req.ID, req.ExecID)
	if err != nil {
		return err
	}
	start := func() error {
		if err := p.start(); err != nil {
			if req.Exec != nil {
				r.forget(p, req.ProcessRequest)
			}
			return err
		}
		started.PID = p.pid
		return begun(started)
	}
	if req.Attach == nil {
		return start()
	}
	ended, err := p.stdio.join(ctx, req.Attach, conn, start)
	if tied {
		if !ended {
			r.killTree(req.ID, p.pid)
		}
		r.forget(p, req.ProcessRequest)
		// A caller that has closed its side alone still reads.
		ctx, ended = context.WithoutCancel(ctx), true
	}
	if err != nil || !ended {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	exit, err := json.Marshal(p.exit)
	if err != nil {
		return fmt.Errorf("cannot tell of an exit: %w", err)
	}
	hurry(conn)
	return agent.WriteIO(conn, agent.IOExit, exit)
}

// Wait returns when a process has ended and its output was written out.
func (r *Runtime) Wait(ctx context.Context, id, execID string) (agent.Exit, error) {
	p, err := r.process(id, execID)
	if err != nil {
		return agent.Exit{}, err
	}
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return agent.Exit{}, ctx.Err()
	}
}

// Resize sets a terminal's size.
func (r *Runtime) Resize(id, execID string, width, height uint) error {
	p, err := r.process(id, execID)
	if err != nil {
		return err
	}
	return p.stdio.resize(width, height)
}

// Kill sends a signal to a process, or to every process of the container.
func (r *Runtime) Kill(req *agent.KillRequest) error {
	if req.Signal < 0 || req.Signal > 64 {
		return errorf(agent.ClassInvalid, "no signal %d", req.Signal)
	}
	if req.All {
		c, err := r.get(req.ID)
		if err != nil {
			return err
		}
		return c.cgroup.signal(unix.Signal(req.Signal))
	}
	p, err := r.process(req.ID, req.ExecID)
	if err != nil {
		return err
	}
	return p.signal(req.Signal)
}

// Delete ends a container and removes all that it has here. A container that
// is not there is fine.
func (r *Runtime) Delete(ctx context.Context, id string) error {
	r.mu.Lock()
	c := r.containers[id]
	if c != nil && !c.created {
		r.mu.Unlock()
		return errorf(agent.ClassConflict, "container %s is being created", id)
	}
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	c.op.Lock()
	defer c.op.Unlock()
	if c.gone {
		return nil
	}
	if err := c.destroy(ctx); err != nil {
		return fmt.Errorf("cannot delete container %s: %w", id, err)
	}
	c.gone = true
	r.mu.Lock()
	if r.containers[id] == c {
		delete(r.containers, id)
	}
	r.mu.Unlock()
	return nil
}

// destroy kills and removes. It may be repeated when it has failed.
func (c *container) destroy(ctx context.Context) error {
	_ = c.cgroup.freeze(false) // what is frozen does not die; what stays so, killAll tells
	c.main.kill()
	c.mu.Lock()
	var execs []*process
	for _, p := range c.execs {
		if p != nil { // else it is being made, in the cgroup that dies here
			execs = append(execs, p)
		}
	}
	c.mu.Unlock()
	for _, p := range execs {
		p.kill()
	}
	if err := c.cgroup.killAll(ctx); err != nil {
		return err
	}
	for _, p := range append(execs, c.main) {
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Second):
			return fmt.Errorf("process %d does not end", p.pid)
		}
	}
	for _, f := range []*os.File{c.mntNS, c.userNS} {
		if f != nil {
			f.Close()
		}
	}
	c.mntNS, c.userNS = nil, nil
	if c.devpts >= 0 {
		unix.Close(c.devpts)
		c.devpts = -1
	}
	if c.fs != nil {
		c.fs.close()
		c.fs = nil
	}
	dropShm(c.dir)
	return errors.Join(c.cgroup.remove(ctx), removeDir(c.dir))
}

// removeDir removes a container's private directory, which has mount points
// and small files in it and nothing mounted any more.
func removeDir(dir string) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, n := range names {
		p := filepath.Join(dir, n.Name())
		if n.IsDir() && n.Name() != "files" {
			// Never through a mount that is still there.
			if err := os.Remove(p); err != nil {
				return err
			}
			continue
		}
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}
