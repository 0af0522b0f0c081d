package engine

import (
	"context"

	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// Pause freezes a running container's processes.
func (e *Engine) Pause(ctx context.Context, name string) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	if err := c.op.lock(ctx); err != nil {
		return err
	}
	defer c.op.unlock()
	_, st := c.snapshot()
	if st.Phase == phasePaused {
		return conflict("Container %s is already paused", c.id)
	}
	client, err := c.running()
	if err != nil {
		return err
	}
	c.stopMonitor()       // a check that is frozen does not end
	defer c.watchHealth() // if it has not been paused
	if err := client.Call(ctx, agent.MethodPause, agent.IDRequest{ID: c.id}, nil); err != nil {
		return fromAgent(err)
	}
	if err := c.setStatus(func(st *status) {
		if st.Phase == phaseRunning { // it may have ended meanwhile
			st.Phase, st.Health = phasePaused, unchecked(st.Health)
		}
	}); err != nil {
		return err
	}
	c.event(events.ActionPause, nil)
	return nil
}

// Unpause lets a paused container go on.
func (e *Engine) Unpause(ctx context.Context, name string) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	_, st := c.snapshot()
	_, k := c.target()
	if k == nil || st.Phase != phasePaused {
		return conflict("Container %s is not paused", c.id)
	}
	return c.unpause(ctx, k)
}

func (c *Container) unpause(ctx context.Context, k kernel.Kernel) error {
	if err := k.Agent().Call(ctx, agent.MethodResume, agent.IDRequest{ID: c.id}, nil); err != nil {
		return fromAgent(err)
	}
	if err := c.setStatus(func(st *status) {
		if st.Phase == phasePaused {
			st.Phase = phaseRunning
		}
	}); err != nil {
		return err
	}
	c.watchHealth()
	c.event(events.ActionUnPause, nil)
	return nil
}
