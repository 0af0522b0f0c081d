package engine

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// The back-off of restarts by policy: Docker's.
const (
	restartFirst   = 100 * time.Millisecond
	restartMax     = time.Minute
	restartSettled = 10 * time.Second // who has run for so long begins with restartFirst again
)

// restartsMax bounds how many containers are started at once by their
// policies, such as after a reboot.
const restartsMax = 8

// checkRestartPolicy validates a policy.
func checkRestartPolicy(p container.RestartPolicy) error {
	if err := container.ValidateRestartPolicy(p); err != nil {
		return invalid("%s", err)
	}
	return nil
}

// again says whether the policy starts a container that has ended as st says.
func again(p container.RestartPolicy, st *status) bool {
	switch {
	case p.IsAlways():
		return !st.CalledOff
	case p.IsUnlessStopped():
		return !st.Stopped
	case p.IsOnFailure():
		return !st.CalledOff && st.ExitCode != 0 && (p.MaximumRetryCount == 0 || st.Restarts < p.MaximumRetryCount)
	}
	return false
}

// awaited is a restart by policy that is to come. ctx ends when it is called
// off, or the engine closes.
type awaited struct {
	ctx   context.Context
	delay time.Duration
}

// plan decides what follows an end that st tells of: nil, or a restart, which
// the caller hands to await. The caller holds mu.
func (c *Container) plan(st *status, ran time.Duration) *awaited {
	if st.Restarting = again(c.rec.Host.RestartPolicy, st); !st.Restarting {
		return nil
	}
	if ran >= restartSettled {
		st.Delay = 0
	}
	st.Delay = min(max(2*st.Delay, restartFirst), restartMax)
	st.Restarts++
	return c.schedule(st.Delay)
}

// schedule makes a restart that byHand can call off. The caller holds mu.
func (c *Container) schedule(delay time.Duration) *awaited {
	ctx, cancel := context.WithCancel(c.e.ctx)
	c.callOff = cancel
	return &awaited{ctx, delay}
}

// await starts the container when it is time. next may be nil.
func (c *Container) await(next *awaited) {
	if next == nil {
		return
	}
	c.e.watch.Go(func() {
		for next != nil {
			next = c.restart(next)
		}
	})
}

// restart waits and starts the container once. It returns what follows when
// that failed.
func (c *Container) restart(due *awaited) *awaited {
	t := time.NewTimer(due.delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-due.ctx.Done():
		return nil
	}
	select {
	case <-c.e.recovered: // what others had of an earlier daemon is given back
	case <-due.ctx.Done():
		return nil
	}
	if c.e.restarts.Acquire(due.ctx, 1) != nil {
		return nil
	}
	defer c.e.restarts.Release(1)
	if c.op.lock(due.ctx) != nil {
		return nil
	}
	defer c.op.unlock()
	ctx, abort := context.WithCancelCause(c.e.ctx)
	defer abort(nil)
	c.mu.Lock()
	if due.ctx.Err() != nil {
		c.mu.Unlock()
		return nil
	}
	c.callOff()
	c.abort = abort // from here on this is what a stop ends
	rec := c.rec
	c.mu.Unlock()
	err := c.bringUp(ctx, rec)
	if err == nil {
		c.mu.Lock()
		c.abort = nil
		c.mu.Unlock()
		c.event(events.ActionStart, nil)
		return nil
	}
	return c.notRestarted(ctx, rec, err)
}

// notRestarted records a restart that failed. The policy decides about it as
// about an end.
func (c *Container) notRestarted(ctx context.Context, rec *record, err error) (next *awaited) {
	code, err := startFailure(err, 128)
	closing := c.e.ctx.Err() != nil                      // the next daemon goes on
	stopped := errors.Is(context.Cause(ctx), errStopped) // which is no failure: its last end stays what it was
	var waiting []*waiter
	serr := c.setStatus(func(st *status) {
		c.abort = nil
		st.Phase, st.Networks, st.PID = st.idle(), attachments{}, 0
		if closing {
			return
		}
		if !stopped {
			st.ExitCode, st.Error, st.FinishedAt = code, err.Error(), time.Now().UTC()
		}
		code = st.ExitCode
		if next = c.plan(st, 0); next == nil {
			waiting = c.take(container.WaitConditionNotRunning, container.WaitConditionNextExit)
		}
	})
	if serr != nil {
		c.e.log.Error("a failed restart is not recorded", "container", c.id, "error", serr)
	}
	if !closing && !stopped {
		c.e.log.Warn("a container cannot be restarted", "container", c.id, "again", next != nil, "error", err)
		c.e.cfg.Observer.StartFailed(rec.Isolation)
	}
	c.dropPending()
	answer(waiting, code)
	return next
}

// byHand notes that a user sends the container a signal; final: one that is to
// end it. It says whether the container waited for its restart, and so has
// nothing that could be sent a signal: a final one calls the restart off.
//
// Docker counts every signal as a stop by hand, and so do the policies here.
func (c *Container) byHand(final bool) (waited bool) {
	var waiting []*waiter
	var code int
	note := func(st *status) {
		waited = st.Restarting && c.abort == nil
		if !waited && c.abort == nil && !st.Phase.active() {
			return
		}
		st.Stopped, st.CalledOff = true, st.CalledOff || final
		if !waited || !final {
			return
		}
		c.callOff()
		st.Restarting = false
		waiting, code = c.take(container.WaitConditionNotRunning, container.WaitConditionNextExit), st.ExitCode
	}
	if rec, _ := c.snapshot(); rec.Host.RestartPolicy.IsNone() {
		c.mu.Lock()
		note(&c.st) // recorded with the end
		c.mu.Unlock()
	} else if err := c.setStatus(note); err != nil {
		c.e.log.Warn("that a container was stopped by hand is not recorded", "container", c.id, "error", err)
	}
	answer(waiting, code)
	return waited
}

// final says whether a signal is to end the container, so that no policy
// starts it again: one that its image has not given another meaning than its
// stop signal's.
func (rec *record) final(signal int) bool {
	if rec.Config.StopSignal == "" || signal == 9 {
		return true
	}
	stop, err := parseSignal(rec.Config.StopSignal)
	return err == nil && signal == stop
}

// resume does what the policy wants of a container that an earlier daemon has
// left, and that does not run: it goes on to wait for its restart, or is
// started anew.
func (c *Container) resume() {
	var next *awaited
	err := c.setStatus(func(st *status) {
		switch {
		case st.Restarting:
			left := time.Until(st.FinishedAt.Add(st.Delay))
			next = c.schedule(min(max(left, 0), st.Delay)) // the clock may have been set
		case st.Phase == phaseExited && again(c.rec.Host.RestartPolicy, st):
			st.Restarting, st.Restarts, st.Delay, st.Stopped, st.CalledOff = true, 0, 0, false, false
			next = c.schedule(0)
		}
	})
	if err != nil {
		c.e.log.Warn("that a container is to be restarted is not recorded", "container", c.id, "error", err)
	}
	c.await(next)
}

// updatePolicy takes a new policy over. It decides from the next end on.
func updatePolicy(host *container.HostConfig, p container.RestartPolicy) error {
	if p.Name == "" {
		return nil
	}
	if err := checkRestartPolicy(p); err != nil {
		return err
	}
	if host.AutoRemove && !p.IsNone() {
		return errorf(errdefs.ErrConflict, "Restart policy cannot be updated because AutoRemove is enabled for the container")
	}
	host.RestartPolicy = p
	return nil
}
