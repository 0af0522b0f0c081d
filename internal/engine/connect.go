package engine

import (
	"context"

	"github.com/containerd/errdefs"
	apinetwork "github.com/moby/moby/api/types/network"
)

// Connect gives a container that does not run a place in a network, which it
// has from its next start on. ep may be nil.
func (e *Engine) Connect(ctx context.Context, network, name string, ep *apinetwork.EndpointSettings) error {
	to, err := e.placeIn(network)
	if err != nil {
		return err
	}
	return e.replace(ctx, name, func(rec *record) error {
		switch p := rec.place(); {
		case !to.attached() || !p.attached() && !rec.Disconnected:
			return conflict("cannot connect container %s to network %s: one with the host's network, or with none, is in no other", shortID(rec.ID), to.Name)
		case p.attached() && p.Network == to.Network:
			return errorf(errdefs.ErrPermissionDenied, "endpoint with name %s already exists in network %s", rec.Name, to.Name)
		case p.attached():
			return instead("disconnect it from the one first; containers that are to reach each other join the same one", "a container in several networks (%s and %s)", p.Name, to.Name)
		}
		if ep != nil {
			if err := to.read(ep); err != nil {
				return err
			}
			if err := e.checkAddress6(to); err != nil {
				return err
			}
		}
		rec.Endpoints, rec.Disconnected = []endpoint{to}, false
		return nil
	})
}

// Disconnect takes a container's place in a network away, if it does not run.
func (e *Engine) Disconnect(ctx context.Context, network, name string) error {
	from, err := e.placeIn(network)
	if err != nil {
		return err
	}
	return e.replace(ctx, name, func(rec *record) error {
		p := rec.place()
		switch {
		case !from.attached():
			return conflict("container %s cannot be disconnected from network %s", shortID(rec.ID), from.Name)
		case p.Network != from.Network:
			return conflict("container %s is not connected to the network %s", rec.ID, from.Name)
		}
		rec.Endpoints, rec.Disconnected = nil, true
		return nil
	})
}

// placeIn is a place in the network of a name or an ID.
func (e *Engine) placeIn(network string) (endpoint, error) {
	for _, name := range []string{defaultNetwork, "host", "none"} {
		if network == name || network == NetworkID(name) {
			return endpoint{Network: name, Name: name}, nil
		}
	}
	n, err := e.networks.Find(network)
	return endpoint{Network: n.ID, Name: n.Name}, err
}

// replace changes what is written down of a container that does not run.
func (e *Engine) replace(ctx context.Context, name string, change func(*record) error) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	if err := c.op.lock(ctx); err != nil {
		return err
	}
	defer c.op.unlock()
	rec, st := c.snapshot()
	switch {
	case st.up():
		return instead("stop it first; it is in the network from its next start on", "to connect a container that runs, or to disconnect it,")
	case st.Phase == phaseRemoving || st.Phase == phaseDead:
		return conflict("container %s is marked for removal", c.id)
	}
	next := *rec
	if err := change(&next); err != nil {
		return err
	}
	return c.saveRecord(&next)
}
