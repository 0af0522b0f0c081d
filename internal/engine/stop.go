package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

const (
	stopTimeout = 10 * time.Second // until a workload that was asked to end is killed
	killTimeout = 10 * time.Second // until a kernel that does not kill is ended itself
	callTimeout = 10 * time.Second // for an agent to answer
)

// Stop asks the workload to end with a signal (the container's stop signal or
// SIGTERM when empty), kills it after timeout seconds (nil: the container's or
// ten; negative: never), and returns when all is cleaned up. Stopping one that
// does not run is errdefs.ErrNotModified. A start under way is given up. The
// end of ctx does not end a stop.
func (e *Engine) Stop(ctx context.Context, name, signal string, timeout *int) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	return c.stop(context.WithoutCancel(ctx), signal, timeout)
}

func (c *Container) stop(ctx context.Context, signal string, timeout *int) error {
	rec, _ := c.snapshot()
	if signal == "" {
		signal = rec.Config.StopSignal
	}
	if signal == "" {
		signal = "SIGTERM"
	}
	number, err := parseSignal(signal)
	if err != nil {
		return err
	}
	patience := stopTimeout
	if timeout == nil {
		timeout = rec.Config.StopTimeout
	}
	if timeout != nil {
		patience = time.Duration(*timeout) * time.Second
	}
	if c.byHand(true) {
		c.event(events.ActionStop, nil)
		return nil
	}
	ended, k := c.target()
	if k == nil {
		var under bool
		if ended, k, under, err = c.giveUpStart(ctx); err != nil {
			return err
		}
		switch {
		case !under:
			return errNotModified
		case k == nil:
			return nil
		}
	}
	if err := c.signal(ctx, k, number); err != nil && !closed(ended) {
		c.e.log.Warn("a container does not take its stop signal; killing it", "container", c.id, "error", err)
		patience = 0
	}
	if patience >= 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
			if err := c.killHard(ctx, k, ended); err != nil {
				return err
			}
		}
	} else {
		<-ended
	}
	c.event(events.ActionStop, nil)
	return nil
}

// target returns the kernel of an active container and the channel of its end.
func (c *Container) target() (<-chan struct{}, kernel.Kernel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel == nil || !c.st.Phase.active() {
		return nil, nil
	}
	return c.ended, c.kernel
}

// giveUpStart ends a start that is under way and says whether there was one.
// When that came too late the container runs: then its end and its kernel are
// returned, as by target.
func (c *Container) giveUpStart(ctx context.Context) (<-chan struct{}, kernel.Kernel, bool, error) {
	under := c.abortStart()
	if under {
		if err := c.op.lock(ctx); err != nil {
			return nil, nil, false, err
		}
		c.op.unlock()
	}
	ended, k := c.target()
	return ended, k, under || k != nil, nil
}

// abortStart ends a start that is under way and says whether there was one.
func (c *Container) abortStart() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abort == nil {
		return false
	}
	c.abort(errStopped)
	return true
}

// signal sends a signal to the workload's first process. A paused container is
// resumed, so that the signal arrives, as with Docker.
func (c *Container) signal(ctx context.Context, k kernel.Kernel, number int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := k.Agent().Call(ctx, agent.MethodKill, agent.KillRequest{ID: c.id, Signal: number}, nil)
	if err != nil {
		return fromAgent(err)
	}
	c.event(events.ActionKill, map[string]string{"signal": strconv.Itoa(number)})
	if _, st := c.snapshot(); st.Phase == phasePaused {
		return c.unpause(ctx, k)
	}
	return nil
}

// killHard ends the workload and waits. When its kernel does not do it, the
// kernel is ended, where it is the container's own.
func (c *Container) killHard(ctx context.Context, k kernel.Kernel, ended <-chan struct{}) error {
	err := c.signal(ctx, k, 9)
	t := time.NewTimer(killTimeout)
	defer t.Stop()
	// An agent that has nothing left to kill means that the end is under way.
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		select {
		case <-ended:
			return nil
		case <-t.C:
		}
	}
	if closed(ended) {
		return nil
	}
	if rec, _ := c.snapshot(); !rec.ownKernel() {
		return errors.Join(errorf(errdefs.ErrInternal, "cannot kill container %s: it did not end within %v", c.id, killTimeout), err)
	}
	c.e.log.Warn("a guest does not kill its workload; ending the guest", "container", c.id, "error", err)
	rctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := k.Release(rctx); err != nil {
		return err
	}
	<-ended
	return nil
}

// Kill sends a signal (SIGKILL when empty) to the workload's first process.
// For SIGKILL it returns when the container has ended and is cleaned up.
func (e *Engine) Kill(ctx context.Context, name, signal string) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	number := 9
	if signal != "" && signal != "0" {
		if number, err = parseSignal(signal); err != nil {
			return err
		}
	}
	return c.kill(ctx, number)
}

func (c *Container) kill(ctx context.Context, number int) error {
	rec, st := c.snapshot()
	final := rec.final(number)
	if c.byHand(final) {
		return nil
	}
	ended, k := c.target()
	if k == nil {
		if st.Restarting && !final {
			return nil // a restart under way, which the signal is not for
		}
		var under bool
		var err error
		if number == 9 || st.Restarting {
			if ended, k, under, err = c.giveUpStart(ctx); err != nil {
				return err
			}
		}
		switch {
		case !under:
			return conflict("cannot kill container: %s: container %s is not running", c.id, c.id)
		case k == nil:
			return nil
		}
	}
	if number == 9 {
		return c.killHard(context.WithoutCancel(ctx), k, ended)
	}
	return c.signal(ctx, k, number)
}

// Restart stops a container, if it runs, and starts it. One that is removed
// when it ends is not removed by this.
func (e *Engine) Restart(ctx context.Context, name, signal string, timeout *int) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	hold := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keep += n
	}
	hold(1)
	defer hold(-1)
	if err := c.stop(context.WithoutCancel(ctx), signal, timeout); err != nil && !errdefs.IsNotModified(err) {
		return err
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	c.event(events.ActionRestart, nil)
	return nil
}
