package engine

import (
	"context"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/network/networks"
)

// NetworkDriver is what Docker calls networks such as the engine's, and the one
// that networks can be made with.
const NetworkDriver = "bridge"

// Network is one that users have made.
type Network struct {
	networks.Network
	Used bool // by a container that runs
}

// Networks lists those that users have made, by name.
func (e *Engine) Networks() []Network {
	list := []Network{}
	for _, n := range e.networks.List() {
		list = append(list, Network{Network: n, Used: e.networks.InUse(n.ID)})
	}
	return list
}

// CreateNetwork makes a network and returns its ID.
func (e *Engine) CreateNetwork(ctx context.Context, spec networks.Spec) (string, error) {
	var others []netip.Prefix
	d, err := e.network.Describe()
	if err != nil {
		return "", err
	}
	if d.Subnet.IsValid() {
		others = append(others, d.Subnet)
	}
	n, err := e.networks.Create(ctx, spec, others...)
	if err != nil {
		return "", err
	}
	e.tellNetwork(events.ActionCreate, n)
	return n.ID, nil
}

// RemoveNetwork removes the network of a name, an ID, or the beginning of one
// ID. One that a running container is in is refused.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	n, err := e.networks.Find(name)
	if err != nil {
		return err
	}
	if err := e.networks.Remove(ctx, n.ID); err != nil {
		return err
	}
	e.tellNetwork(events.ActionDestroy, n)
	return nil
}

// PruneNetworks removes those that no running container is in and that choose
// wants gone, and returns their names.
func (e *Engine) PruneNetworks(ctx context.Context, choose func(Network) bool) ([]string, error) {
	gone := []string{}
	for _, n := range e.Networks() {
		if err := ctx.Err(); err != nil {
			return gone, err
		}
		if n.Used || !choose(n) {
			continue
		}
		switch err := e.RemoveNetwork(ctx, n.ID); {
		case err == nil:
			gone = append(gone, n.Name)
		case errdefs.IsNotFound(err), errdefs.IsPermissionDenied(err): // removed, or taken into use since
		default:
			e.log.Warn("a network cannot be pruned", "network", n.Name, "error", err)
		}
	}
	return gone, nil
}

func (e *Engine) tellNetwork(action events.Action, n networks.Network) {
	e.events.Publish(events.NetworkEventType, action, n.ID, map[string]string{"name": n.Name, "type": NetworkDriver})
}
