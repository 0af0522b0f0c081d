package engine

import (
	"context"
	"fmt"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/logs"
)

// borrow gives access to the files of a container, whatever it is doing. Of
// one that runs, the agent is its own; for one that does not, a kernel is
// placed and the container made on it, without network and not started. back
// undoes that and must be called once.
func (c *Container) borrow(ctx context.Context) (client *agent.Client, back func(), err error) {
	if client, err := c.running(); err == nil {
		return client, func() {}, nil
	}
	if err := c.op.lock(ctx); err != nil {
		return nil, nil, err
	}
	if client, err := c.running(); err == nil { // it was being started
		c.op.unlock()
		return client, func() {}, nil
	}
	var cu cleanup.Stack
	defer cu.Clean()
	cu.Add(c.op.unlock)
	rec, st := c.snapshot()
	if st.Phase == phaseRemoving {
		return nil, nil, notFound("No such container: %s", c.id)
	}
	wall, err := c.e.wall(rec)
	if err != nil {
		return nil, nil, err
	}
	if err := c.prepareSources(rec); err != nil {
		return nil, nil, err
	}
	if err := logs.Repair(c.dir.Log(), 0o600); err != nil {
		return nil, nil, err
	}
	if err := c.setStatus(func(st *status) { st.Borrowed = true }); err != nil {
		return nil, nil, err
	}
	cu.Add(func() {
		if err := c.setStatus(func(st *status) { st.Borrowed = false }); err != nil {
			c.e.log.Warn("the end of a borrowed kernel is not recorded", "container", c.id, "error", err)
		}
	})
	k, err := c.place(ctx, wall, rec, &attachments{}, &cu)
	if err != nil {
		return nil, nil, err
	}
	cu.Add(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		if err := k.Agent().Call(ctx, agent.MethodDelete, agent.IDRequest{ID: c.id}, nil); err != nil {
			c.e.log.Warn("the files of a stopped container stay mounted", "container", c.id, "error", err)
		}
	})
	req, err := c.describe(k, rec.unstarted(), &attachments{})
	if err != nil {
		return nil, nil, err
	}
	if err := k.Agent().Call(ctx, agent.MethodCreate, req, nil); err != nil {
		return nil, nil, fmt.Errorf("cannot reach the files of container %s: %w", shortID(c.id), fromAgent(err))
	}
	return k.Agent(), cu.Release(), nil
}

// unstarted is the container for who wants its files alone: its command, user
// and working directory need not be there, and may be what is brought.
func (rec *record) unstarted() *record {
	config := *rec.Config
	config.Entrypoint, config.Cmd = []string{"/proc/self/exe"}, nil // which there always is
	config.User, config.WorkingDir = "0", "/"
	other := *rec
	other.Config = &config
	return &other
}
