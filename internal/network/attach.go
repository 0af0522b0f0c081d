package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/cleanup"
)

// Attach gives a container its place: address, names, published ports, and the
// interface, which is up at the bridge's side. What an earlier attachment of
// the same ID left is replaced. On error nothing is left of it.
func (n *Network) Attach(ctx context.Context, r Request) (Attachment, error) {
	if err := r.check(); err != nil {
		return Attachment{}, err
	}
	if n.cfg.Internal {
		r.Ports = nil // as docker: nobody could use them
	}
	defer n.ids.lock(r.ID)()
	a, err := n.attach(ctx, r)
	if err != nil && n.lostBridge() {
		a, err = n.attach(ctx, r)
	}
	return a, err
}

// lostBridge tells whether somebody removed the bridge; it is made again then
// when it is needed.
func (n *Network) lostBridge() bool {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	if n.bridge.index == 0 {
		return false
	}
	l, err := n.findBridge()
	if err != nil || l != nil && l.Attrs().Index == n.bridge.index {
		return false
	}
	n.log.Warn("the bridge was removed by something else; making it again", "bridge", n.cfg.Bridge)
	_ = n.downLocked(false)
	return true
}

func (n *Network) attach(ctx context.Context, r Request) (a Attachment, err error) {
	err = n.withBridge(ctx, func(b bridge) error {
		if err := n.detach(r.ID); err != nil {
			return err
		}
		var cu cleanup.Stack
		defer cu.Clean()
		ports, err := n.held.hold(r.ID, r.Ports)
		if err != nil {
			return err
		}
		cu.Add(func() { n.held.release(r.ID) })
		r.Ports = ports
		if r.Port != "" || r.Trunk != "" || !n.stands(r, b) {
			r.Spare = ""
		}
		e, err := n.ledger.take(r)
		if err != nil {
			return err
		}
		cu.Add(func() {
			n.ledger.release(r.ID)
			_ = n.ledger.save()
		})

		// The file and the kernel need not wait for each other: a link that no
		// lease names is swept away by Recover.
		saved := make(chan error, 1)
		go func() { saved <- n.ledger.save() }()
		nic, err := n.plug(e, b, &cu)
		if serr := <-saved; serr != nil || err != nil {
			return errors.Join(err, serr)
		}
		n.names.set(e)
		cu.Release()
		a = n.attachment(e, nic, b)
		return nil
	})
	return a, err
}

// plug lets a lease's port send, then makes it.
func (n *Network) plug(e lease, b bridge, cu *cleanup.Stack) (string, error) {
	if err := n.permit(e); err != nil {
		return "", err
	}
	cu.Add(func() { _ = n.removeRules(e) })
	nic, err := n.addLink(e, b)
	if err != nil {
		return "", err
	}
	cu.Add(func() { _ = n.removePort(e) })
	if err := n.reflect(e); err != nil {
		return "", err
	}
	return nic, nil
}

func (n *Network) attachment(e lease, nic string, b bridge) Attachment {
	subnet := n.ledger.subnet()
	gateway := n.cfg.gateway(subnet).String()
	a := Attachment{
		NIC:       nic,
		MAC:       e.MAC,
		MTU:       b.mtu,
		Addresses: []string{netip.PrefixFrom(e.Address, subnet.Bits()).String()},
		DNS:       []string{gateway},
		Search:    readResolvConf().search,
		Ports:     slices.Clone(e.Ports),
	}
	if !n.cfg.Internal {
		a.Gateways = []string{gateway}
	}
	if e.Address6.IsValid() {
		a.Addresses = append(a.Addresses, netip.PrefixFrom(e.Address6, n.cfg.Subnet6.Bits()).String())
		if !n.cfg.Internal {
			a.Gateways = append(a.Gateways, n.cfg.gateway6().String())
		}
	}
	return a
}

// Detach takes a container's place away; its address is kept for it as long as
// there are others. It is no error when the container has none. When it
// returns, nothing gets to or from the container and its ports are free; its
// links, whose removal waits for the kernel, go soon after, and only then does
// anybody else get the address.
func (n *Network) Detach(_ context.Context, id string) error {
	unlock := n.ids.lock(id)
	n.upMu.RLock()
	done := func() { n.upMu.RUnlock(); unlock() }
	e, ok := n.withdraw(id)
	if !ok {
		done()
		return nil
	}
	if err := n.withdrawRules(e); err != nil {
		done()
		return err
	}
	go func() {
		defer done()
		err := n.unplug(e)
		if err == nil {
			err = n.ledger.save()
		}
		if err != nil {
			n.log.Warn("a container's place in the network is left", "container", id, "error", err)
		}
	}()
	return nil
}

// detach undoes attach, all of it. The caller has the ID's lock.
func (n *Network) detach(id string) error {
	e, ok := n.withdraw(id)
	if !ok {
		return nil
	}
	if err := n.withdrawRules(e); err != nil {
		return err
	}
	return n.unplug(e)
}

// withdraw lets a container's names and ports go, and returns what else it has.
func (n *Network) withdraw(id string) (lease, bool) {
	n.names.remove(id)
	n.held.release(id)
	return n.ledger.get(id)
}

// withdrawRules keeps frames of a lease's port from passing.
func (n *Network) withdrawRules(e lease) error {
	if n.bridge.index == 0 {
		return nil
	}
	if err := n.removeRules(e); err != nil {
		return err
	}
	if err := forgetFlows(e); err != nil {
		n.log.Warn("withdrawing UDP ports", "error", err)
	}
	return nil
}

// unplug removes a lease's links and then the lease.
func (n *Network) unplug(e lease) error {
	if err := n.removePort(e); err != nil {
		return fmt.Errorf("cannot detach container from the network: %w", err)
	}
	n.ledger.release(e.ID)
	return nil
}

// Publish replaces the published ports of an attached container, and returns
// them with the host ports that were chosen. On error none are published.
func (n *Network) Publish(_ context.Context, id string, ports []PortBinding) ([]PortBinding, error) {
	defer n.ids.lock(id)()
	n.upMu.RLock()
	defer n.upMu.RUnlock()
	e, ok := n.ledger.get(id)
	if !ok || n.bridge.index == 0 {
		return nil, fmt.Errorf("cannot publish ports: the container is not in the network: %w", errdefs.ErrFailedPrecondition)
	}
	r := Request{ID: id, Ports: ports}
	if err := r.check(); err != nil {
		return nil, err
	}
	if n.cfg.Internal {
		r.Ports = nil
	}
	if err := n.withdrawRules(e); err != nil {
		return nil, err
	}
	n.held.release(id)
	bound, err := n.held.hold(id, r.Ports)
	e, _ = n.ledger.update(id, func(e *lease) { e.Ports = bound })
	perr := n.permit(e)
	if perr == nil {
		perr = n.reflect(e)
	}
	if err = errors.Join(err, perr, n.ledger.save()); err != nil {
		return nil, err
	}
	return bound, nil
}

// permit lets a lease's port send, and publishes its ports.
func (n *Network) permit(e lease) error {
	err := n.addRules(e)
	if isMissing(err) {
		n.log.Warn("this engine's nftables rules were removed by something else; loading them again")
		err = n.loadRules()
	}
	if err != nil {
		return err
	}
	if err := forgetFlows(e); err != nil {
		n.log.Warn("publishing UDP ports", "error", err)
	}
	return nil
}

// Lookup returns the addresses of a name in this network, as the container of
// an ID calls it.
func (n *Network) Lookup(id, name string) []netip.Addr { return n.names.lookupFor(id, name) }

// Rename changes the DNS names of an attached container; the hostname and the
// ID stay names.
func (n *Network) Rename(id string, names []string) {
	defer n.ids.lock(id)()
	e, ok := n.ledger.update(id, func(e *lease) { e.Names = slices.Clone(names) })
	if !ok {
		return
	}
	n.names.set(e)
	if err := n.ledger.save(); err != nil {
		n.log.Warn("renaming a container", "error", err)
	}
}
