package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/logs"
)

// cleanTimeout bounds each step that takes away what a failed start has made.
const cleanTimeout = 20 * time.Second

// errStopped is the cause by which a stop ends a start.
var errStopped = conflict("the container was stopped while it started")

// Start starts a container and returns when its program runs. A failure, also
// that of a context that ends, leaves nothing but what Inspect says of it.
// Starting one that runs is errdefs.ErrNotModified.
func (e *Engine) Start(ctx context.Context, name string) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	return c.start(ctx)
}

func (c *Container) start(ctx context.Context) error {
	if err := c.op.lock(ctx); err != nil {
		return err
	}
	rec, st := c.snapshot()
	switch st.Phase {
	case phaseRunning:
		c.op.unlock()
		return errNotModified
	case phasePaused:
		c.op.unlock()
		return conflict("cannot start a paused container, try unpause instead")
	case phaseRemoving, phaseDead:
		c.op.unlock()
		return conflict("container is marked for removal and cannot be started")
	}
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	c.mu.Lock()
	if c.st.Restarting { // which its policy does
		c.mu.Unlock()
		c.op.unlock()
		return errNotModified
	}
	c.abort = abort
	c.st.Restarts, c.st.Delay, c.st.Stopped, c.st.CalledOff = 0, 0, false, false
	c.mu.Unlock()
	err := c.bringUp(ctx, rec)
	c.mu.Lock()
	c.abort = nil
	c.mu.Unlock()
	if err == nil {
		c.op.unlock()
		c.event(events.ActionStart, nil)
		return nil
	}
	code, err := startFailure(err, 128)
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = fmt.Errorf("cannot start container: %w", cause)
	}
	c.failed(code, err)
	c.e.cfg.Observer.StartFailed(rec.Isolation)
	c.op.unlock()
	if rec.Host.AutoRemove {
		if rerr := c.remove(context.WithoutCancel(ctx), RemoveOptions{Force: true, Volumes: true}); rerr != nil {
			c.e.log.Warn("a container that did not start cannot be removed", "container", c.id, "error", rerr)
		}
	}
	return err
}

// bringUp does it, or leaves nothing. The caller holds op.
func (c *Container) bringUp(ctx context.Context, rec *record) (err error) {
	var cu cleanup.Stack
	defer cu.Clean()
	took := newStopwatch(ctx)
	defer func() {
		if err != nil {
			c.did(ctx, OperationStart, took, err)
		}
	}()
	wall, err := c.e.wall(rec)
	if err != nil {
		return err
	}
	if err := c.prepareSources(rec); err != nil {
		return err
	}
	if err := logs.Repair(c.dir.Log(), 0o600); err != nil {
		return err
	}
	joined, err := c.e.joinOthers(rec)
	if err != nil {
		return err
	}
	if rec, err = c.named(rec, joined); err != nil {
		return err
	}
	nets, owner, err := c.joinNetworks(ctx, rec, &cu)
	if err != nil {
		return err
	}
	if owner != rec.Owner {
		lent := *rec
		lent.Owner = owner
		if err := c.saveRecord(&lent); err != nil {
			return err
		}
		c.e.containers.exchange(c.id, rec.Owner, owner)
		rec = &lent
	}
	took.lap("network")
	// From here on a crash may leave a kernel, which the next daemon looks for
	// in this phase.
	if err := c.setStatus(func(st *status) {
		st.Phase, st.Networks, st.Owner = phaseStarting, nets, c.sharedOwner(rec, joined)
	}); err != nil {
		return err
	}
	took.lap("state")
	k, err := c.place(ctx, wall, rec, &nets, &cu)
	if err != nil {
		return err
	}
	took.lap("kernel")
	c.onFailure(ctx, &cu, "container at its agent", func(ctx context.Context) error {
		return k.Agent().Call(ctx, agent.MethodDelete, agent.IDRequest{ID: c.id}, nil)
	})
	req, err := c.describe(k, rec.asJoined(joined), &nets)
	if err != nil {
		return err
	}
	proc, told, err := c.launch(ctx, k, req)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	took.part("create", proc.CreateTook)
	took.lap("start")
	c.mu.Lock()
	c.kernel = k
	ended := make(chan struct{})
	c.ended = ended
	late := c.pending
	c.pending = nil
	c.mu.Unlock()
	c.serve(ctx, k, late)
	cu.Release()
	err = c.setStatus(func(st *status) {
		*st = status{
			Phase: phaseRunning, PID: proc.PID, StartedAt: time.Now().UTC(), FinishedAt: st.FinishedAt, Networks: nets, Owner: st.Owner,
			Restarts: st.Restarts, Delay: st.Delay, Stopped: st.Stopped, CalledOff: st.CalledOff,
			Health: newHealth(rec.Config, st.Health),
		}
	})
	if err != nil {
		// It runs. A daemon that finds the older phase asks the agent.
		c.e.log.Error("a running container is not recorded as such", "container", c.id, "error", err)
	}
	took.lap("record")
	c.e.cfg.Observer.Started(rec.Isolation, took.last.Sub(took.began), took.steps)
	c.e.log.Debug("a container runs", append(took.attrs(), "container", c.id, "isolation", rec.Isolation)...)
	c.did(ctx, OperationStart, took, nil) // before its end can be told
	c.tellJoined(events.ActionConnect, rec)
	c.e.watch.Go(func() { c.watchEnd(k, told) })
	c.watchHealth()
	c.e.watch.Go(func() { c.watchLog(k, ended) })
	c.e.stockSpares(rec)
	return nil
}

// place gets the kernel.
func (c *Container) place(ctx context.Context, wall kernel.Provider, rec *record, j *attachments, cu *cleanup.Stack) (kernel.Kernel, error) {
	p, err := c.placement(ctx, rec, j, true)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.RunDir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the container's run directory: %w", err)
	}
	cu.Add(func() { os.RemoveAll(p.RunDir) })
	k, err := wall.Place(ctx, p)
	if err != nil {
		return nil, err
	}
	c.onFailure(ctx, cu, "kernel", k.Release)
	return k, nil
}

// onFailure adds a step that takes back what a start has made, should it fail.
func (c *Container) onFailure(ctx context.Context, cu *cleanup.Stack, what string, f func(context.Context) error) {
	cu.Add(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			c.e.log.Warn("a failed start leaves something", "what", what, "container", c.id, "error", err)
		}
	})
}

// failed records a start that came to nothing.
func (c *Container) failed(code int, why error) {
	text := why.Error()
	if errors.Is(why, context.Canceled) {
		text = "the start was cancelled"
	}
	err := c.setStatus(func(st *status) {
		st.Phase, st.Networks, st.PID = st.idle(), attachments{}, 0
		st.ExitCode, st.Error = code, text
	})
	if err != nil {
		c.e.log.Error("a failed start is not recorded", "container", c.id, "error", err)
	}
	c.dropPending()
}

// dropPending tells those who wait for a start that none comes.
func (c *Container) dropPending() {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, s := range pending {
		s.fail(nil)
	}
}
