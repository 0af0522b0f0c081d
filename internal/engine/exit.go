package engine

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// exitKilled is the code of a workload whose kernel or agent ended under it.
const exitKilled = 137

// askDelay is how long the end of a workload is heard of in another way before
// its agent is asked: a call that a short life can do without.
const askDelay = 200 * time.Millisecond

// watchEnd waits for the workload's end and finishes the container then. It
// leaves everything as it is when the engine closes. told may be nil.
func (c *Container) watchEnd(k kernel.Kernel, told <-chan agent.Exit) {
	if told != nil {
		select {
		case exit := <-told:
			c.finish(k, exit, "")
			return
		case <-time.After(askDelay): // a slow client may hold up what follows its output
		case <-k.Done():
		case <-c.e.ctx.Done():
		}
	}
	if exit, why, ok := c.awaitExit(k); ok {
		c.finish(k, exit, why)
	}
}

// awaitExit returns how the workload ended, and why when that is not the
// workload's doing; false when the engine closes first.
func (c *Container) awaitExit(k kernel.Kernel) (agent.Exit, string, bool) {
	ctx, cancel := context.WithCancel(c.e.ctx)
	defer cancel()
	go func() {
		select {
		case <-k.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	died := func(why string) (agent.Exit, string, bool) {
		return agent.Exit{Code: exitKilled, At: time.Now()}, why, true
	}
	pause := 10 * time.Millisecond
	for {
		var exit agent.Exit
		err := k.Agent().Call(ctx, agent.MethodWait, agent.ProcessRequest{ID: c.id}, &exit)
		switch {
		case err == nil:
			return exit, "", true
		case c.e.ctx.Err() != nil:
			return agent.Exit{}, "", false
		case closed(k.Done()):
			return died("the container's kernel, or the agent on it, ended unexpectedly")
		case errors.Is(err, &agent.Error{Class: agent.ClassNoContainer}):
			return died("the agent ended unexpectedly, and the container with it")
		}
		c.e.log.Debug("waiting for a container failed; trying again", "container", c.id, "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		case <-k.Done():
		case <-c.e.ctx.Done():
		}
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// finish takes away what an ended container has and tells everybody.
func (c *Container) finish(k kernel.Kernel, exit agent.Exit, why string) {
	c.mu.Lock()
	c.dropMonitor()
	rec, started, remove := c.rec, c.st.StartedAt, c.rec.Host.AutoRemove && c.keep == 0
	c.mu.Unlock()
	took := newStopwatch(context.Background())
	defer func() { c.did(context.Background(), OperationExit, took, nil) }()
	now := time.Now().UTC()
	exit.Code &= 0xff
	if exit.At = exit.At.UTC(); exit.At.Before(started) || exit.At.After(now) {
		exit.At = now // a guest says what it likes
	}
	ran := now.Sub(started)
	if remove && rec.fades() && c.execIDs() == nil && c.e.fading.TryAcquire(1) {
		defer c.e.fading.Release(1)
		c.fade(k, rec, exit, ran)
		return
	}
	if err := c.setStatus(func(st *status) { st.Ended = &ended{exit, why} }); err != nil {
		c.e.log.Warn("an exit code is lost if the daemon ends now", "container", c.id, "error", err)
	}
	given := c.giveBack(k, remove && rec.discards())
	c.endExecs()
	var done chan struct{}
	var waiting []*waiter
	var next *awaited
	// All at once: from here on the container can be started again, and who
	// waits for that run's end must not be told of this one's.
	err := c.setStatus(func(st *status) {
		c.dropMonitor() // of one that was begun meanwhile
		c.kernel, done = nil, c.ended
		st.Health = unchecked(st.Health)
		c.leaveRest(&given)
		st.Phase, st.PID, st.Ended = phaseExited, 0, nil
		st.ExitCode, st.OOMKilled, st.Error, st.FinishedAt = exit.Code, exit.OOMKilled, why, exit.At
		next = c.plan(st, ran)
		// As dockerd: also when a restart follows.
		waiting = c.take(container.WaitConditionNotRunning, container.WaitConditionNextExit)
	})
	if err != nil {
		c.e.log.Error("an exit is not recorded; the next daemon will report the container as died", "container", c.id, "error", err)
	}
	c.died(rec, exit, ran)
	answer(waiting, exit.Code)
	close(done)
	c.await(next)
	if remove {
		if err := c.remove(context.WithoutCancel(c.e.ctx), RemoveOptions{Volumes: true}); err != nil {
			c.e.log.Warn("an ended container cannot be removed", "container", c.id, "error", err)
		}
	}
}

// died tells of an end.
func (c *Container) died(rec *record, exit agent.Exit, ran time.Duration) {
	c.e.cfg.Observer.Ended(rec.Isolation)
	if exit.OOMKilled {
		c.event(events.ActionOOM, nil)
	}
	c.event(events.ActionDie, map[string]string{
		"exitCode":     strconv.Itoa(exit.Code),
		"execDuration": strconv.Itoa(int(ran.Seconds())),
	})
	c.tellJoined(events.ActionDisconnect, rec)
}

// tellJoined tells of all networks that a container has joined, or left.
func (c *Container) tellJoined(action events.Action, rec *record) {
	for i := range rec.Endpoints {
		c.e.networkEvent(action, rec.ID, &rec.Endpoints[i])
	}
}

// giveBack returns what a container has of the host, and tells what that was of
// networks. It goes on after failures, which it logs. Discard says that nobody reads again what the
// container has written.
func (c *Container) giveBack(k kernel.Kernel, discard bool) attachments {
	step := func(what string, f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.e.ctx), cleanTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			c.e.log.Warn("an ended container leaves something", "what", what, "container", c.id, "error", err)
		}
	}
	rec, st := c.snapshot()
	took := newStopwatch(context.Background())
	detach := func() {
		for _, p := range st.Networks.Places {
			step("network", func(ctx context.Context) error { return c.e.leave(ctx, c.id, p.Network) })
		}
		if st.Networks.Tap != "" {
			step("tap", func(context.Context) error { return c.e.taps.Remove(st.Networks.Tap) })
		}
	}
	var wg sync.WaitGroup
	if !rec.tap() { // else the hypervisor has it open
		wg.Go(detach)
	}
	if discard { // the guest need not write anything out
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = k.Release(gone)
	}
	if !closed(k.Done()) {
		step("container at its agent", func(ctx context.Context) error {
			err := k.Agent().Call(ctx, agent.MethodDelete, agent.IDRequest{ID: c.id}, nil)
			if closed(k.Done()) || errors.Is(err, &agent.Error{Class: agent.ClassNoContainer}) {
				return nil
			}
			return err
		})
	}
	took.lap("agent")
	step("kernel", k.Release)
	if rec.tap() {
		detach()
	}
	wg.Wait()
	took.lap("kernel and network")
	c.e.log.Debug("a container has ended", append(took.attrs(), "container", c.id)...)
	os.RemoveAll(c.e.dirs.RunDir(runName(rec.Isolation), c.id))
	return st.Networks
}
