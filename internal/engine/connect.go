package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/network"
)

// Connect gives a container a place in a network: now if it runs, else from its
// next start on. ep may be nil.
func (e *Engine) Connect(ctx context.Context, network, name string, ep *apinetwork.EndpointSettings) error {
	to, err := e.placeIn(network)
	if err != nil {
		return err
	}
	return e.reconnect(ctx, name, func(c *Container, rec *record, st *status) error {
		switch {
		case !attachable(to.Network) || !rec.networked():
			return conflict("cannot connect container %s to network %s: one with the host's network, another container's, or none, is in no other", shortID(rec.ID), to.Name)
		case rec.endpoint(to.Network) != nil:
			return errorf(errdefs.ErrPermissionDenied, "endpoint with name %s already exists in network %s", rec.Name, to.Name)
		}
		if ep != nil {
			if err := to.read(ep); err != nil {
				return err
			}
			if err := e.checkAddress6(to); err != nil {
				return err
			}
		}
		rec.Endpoints = append(slices.Clone(rec.Endpoints), to)
		if !st.Phase.active() {
			return c.saveRecord(rec)
		}
		return c.plugIn(ctx, rec, &to)
	})
}

// Disconnect takes a container's place in a network away, whether or not it
// runs.
func (e *Engine) Disconnect(ctx context.Context, network, name string) error {
	from, err := e.placeIn(network)
	if err != nil {
		return err
	}
	return e.reconnect(ctx, name, func(c *Container, rec *record, st *status) error {
		p := rec.endpoint(from.Network)
		switch {
		case !attachable(from.Network):
			return conflict("container %s cannot be disconnected from network %s", shortID(rec.ID), from.Name)
		case p == nil:
			return conflict("container %s is not connected to the network %s", rec.ID, from.Name)
		}
		left := *p
		rec.Endpoints = slices.DeleteFunc(slices.Clone(rec.Endpoints), func(p endpoint) bool { return p.Network == from.Network })
		if !st.Phase.active() {
			return c.saveRecord(rec)
		}
		return c.unplug(ctx, rec, &left)
	})
}

// reconnect changes what networks a container is in. change gets a copy of its
// record.
func (e *Engine) reconnect(ctx context.Context, name string, change func(*Container, *record, *status) error) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	if err := c.op.lock(ctx); err != nil {
		return err
	}
	defer c.op.unlock()
	rec, st := c.snapshot()
	if st.Phase == phaseRemoving || st.Phase == phaseDead {
		return conflict("container %s is marked for removal", c.id)
	}
	next := *rec
	return change(c, &next, &st)
}

// plugIn gives a running container a place that its next record names.
func (c *Container) plugIn(ctx context.Context, next *record, p *endpoint) error {
	_, st := c.snapshot()
	var cu cleanup.Stack
	defer cu.Clean()
	back := context.WithoutCancel(ctx)
	was, now := st.Networks, st.Networks
	now.Places = slices.Clone(was.Places)
	now.Out = c.e.gateway(next.Endpoints)
	if now.Tap != "" && !now.plugged() {
		if err := c.e.taps.Open(now.Tap); err != nil {
			return err
		}
	}
	ports, err := c.movePorts(ctx, next, &was, &now, &cu)
	if err != nil {
		return err
	}
	if now.Out != p.Network {
		ports = nil
	}
	cu.Add(func() { c.undo("network", c.e.leave(back, c.id, p.Network)) })
	if err := c.join(ctx, next, p, &now, ports, false, ""); err != nil {
		return err
	}
	added := now.in(p.Network)
	device := added.NIC
	if now.Tap != "" {
		if device, err = c.guestDevice(); err != nil {
			return err
		}
	}
	req := &agent.RewireRequest{Add: []agent.Link{now.agentLink(added, device)}}
	cu.Add(func() {
		c.undo("interface", c.rewire(back, next, &now, &was, &agent.RewireRequest{Remove: []string{added.Link}}))
	})
	if err := c.rewire(ctx, next, &was, &now, req); err != nil {
		return err
	}
	runs, err := c.rejoined(next, now)
	if err != nil {
		return err
	}
	cu.Release()
	if !runs { // it has given back what it had by then
		c.undo("network", c.e.leave(back, c.id, p.Network))
		return nil
	}
	c.e.networkEvent(events.ActionConnect, c.id, p)
	return nil
}

// unplug takes a running container's place away that its next record does not
// name.
func (c *Container) unplug(ctx context.Context, next *record, p *endpoint) error {
	_, st := c.snapshot()
	was, now := st.Networks, st.Networks
	gone := was.in(p.Network)
	now.Places = slices.DeleteFunc(slices.Clone(was.Places), func(o place) bool { return o.Network == p.Network })
	now.Out = c.e.gateway(next.Endpoints)
	if gone != nil {
		device := now.Tap != "" && gone.NIC == now.Tap
		if device {
			if err := c.e.taps.Open(now.Tap); err != nil {
				return err
			}
		}
		if err := c.rewire(ctx, next, &was, &now, &agent.RewireRequest{Remove: []string{gone.Link}}); err != nil {
			if device {
				c.undo("tap", c.e.taps.Close(now.Tap))
			}
			return err
		}
	}
	ctx = context.WithoutCancel(ctx) // there is no way back
	c.undo("network", c.e.leave(ctx, c.id, p.Network))
	if now.Out != was.Out && now.in(now.Out) != nil {
		bound, err := c.e.net(now.Out).Publish(ctx, c.id, fixed(was.ports()))
		c.undo("published ports", err)
		now.in(now.Out).Ports = bound
	}
	if _, err := c.rejoined(next, now); err != nil {
		return err
	}
	c.e.networkEvent(events.ActionDisconnect, c.id, p)
	return nil
}

// movePorts takes the ports from where they are published if that is another
// network from now on, and returns them.
func (c *Container) movePorts(ctx context.Context, next *record, was, now *attachments, cu *cleanup.Stack) ([]network.PortBinding, error) {
	old := was.in(was.Out)
	switch {
	case old == nil:
		return next.ports()
	case now.Out == was.Out || len(old.Ports) == 0:
		return nil, nil
	}
	ports := fixed(old.Ports)
	publish := func(ctx context.Context, ports []network.PortBinding) error {
		_, err := c.e.net(was.Out).Publish(ctx, c.id, ports)
		return err
	}
	cu.Add(func() { c.undo("published ports", publish(context.WithoutCancel(ctx), ports)) })
	now.in(was.Out).Ports = nil
	return ports, publish(ctx, nil)
}

// fixed are ports that stay the ones of the host that they are.
func fixed(ports []network.PortBinding) []network.PortBinding {
	list := slices.Clone(ports)
	for i := range list {
		list[i].LastHostPort = 0
	}
	return list
}

// rewire tells the agent what changes from one set of places to another.
func (c *Container) rewire(ctx context.Context, rec *record, was, now *attachments, req *agent.RewireRequest) error {
	client, err := c.running()
	if err != nil {
		return err
	}
	req.ID = c.id
	if now.Out != was.Out {
		req.Default = &agent.Link{}
		if p := now.in(now.Out); p != nil {
			req.Default = &agent.Link{Name: p.Link, Gateways: p.Gateways}
		}
	}
	if req.Files, err = rec.files(now); err != nil {
		return err
	}
	if err := client.Call(ctx, agent.MethodRewire, req, nil); err != nil {
		return fmt.Errorf("cannot change the network of container %s: %w", shortID(c.id), fromAgent(err))
	}
	return nil
}

// guestDevice is what the guest calls its network device.
func (c *Container) guestDevice() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel == nil {
		return "", conflict("container %s is not running", c.id)
	}
	return c.kernel.Link(0), nil
}

// rejoined records what networks a running container is in, and says whether
// it runs still.
func (c *Container) rejoined(next *record, now attachments) (runs bool, err error) {
	if err := c.saveRecord(next); err != nil {
		return false, err
	}
	err = c.setStatus(func(st *status) {
		if runs = st.Phase.active(); runs {
			st.Networks = now
		}
	})
	return runs, err
}

// leaveRest takes away the places that a container came by while it ended and
// gave back what it had. The caller holds mu.
func (c *Container) leaveRest(given *attachments) {
	for _, p := range c.st.Networks.Places {
		if given.in(p.Network) == nil {
			c.undo("network", c.e.leave(context.WithoutCancel(c.e.ctx), c.id, p.Network))
		}
	}
	c.st.Networks = attachments{}
}

// undo logs what a change of networks could not take back.
func (c *Container) undo(what string, err error) {
	if err != nil {
		c.e.log.Warn("a change of networks leaves something", "what", what, "container", c.id, "error", err)
	}
}
