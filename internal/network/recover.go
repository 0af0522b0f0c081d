package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Recover takes over what an earlier daemon left: the containers in live keep
// their places, with their reservations, rules and names made anew; everything
// else that was attached is removed. It is called once, after Open and before
// Attach. A live container whose place is lost is logged and has no network;
// the error is about the network as a whole.
func (n *Network) Recover(ctx context.Context, live []Request) error {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	if n.closed {
		return errClosed
	}
	keep := map[string]Request{}
	for _, r := range live {
		keep[r.ID] = r
	}
	for _, e := range n.ledger.all() {
		r, ok := keep[e.ID]
		if ok {
			_, err := netlink.LinkByName(n.port(e))
			ok = !isGone(err)
			if !ok {
				n.log.Warn("a running container has lost its network interface; restart it", "container", e.ID)
			}
		}
		if !ok {
			if err := n.removePort(e); err != nil {
				return err
			}
			n.ledger.release(e.ID)
			continue
		}
		n.ledger.update(e.ID, func(l *lease) {
			l.Names, l.Links = r.Names, r.Links
			if r.Hostname != "" {
				l.Hostname = r.Hostname
			}
		})
	}
	leases := n.ledger.all()
	if len(leases) == 0 {
		unlock, err := lockHost(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if err := n.recallUplinks(); err != nil {
			return err
		}
		return errors.Join(n.downLocked(true), n.ledger.save())
	}
	// Before the rules are loaded: they are made of what leases say.
	for _, e := range leases {
		for _, err := range n.held.reclaim(e.ID, e.Ports) {
			n.log.Warn("a published port of a running container is now used by something else too", "container", e.ID, "error", err)
		}
		n.held.relay(e)
		n.names.set(e)
	}
	if err := n.upLocked(ctx); err != nil {
		return err
	}
	return n.sweep()
}

// replugAll puts the links of all leases back on a bridge that was made again.
func (n *Network) replugAll(b bridge) {
	for _, e := range n.ledger.all() {
		if err := n.replug(e, b); err != nil {
			n.log.Warn("cannot put a running container back on the bridge; restart it", "container", e.ID, "error", err)
		}
	}
}

// replug makes sure that a container's link is a port of the bridge, which may
// have been removed and made again.
func (n *Network) replug(e lease, b bridge) error {
	link, err := netlink.LinkByName(n.port(e))
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex == b.index {
		return nil
	}
	if err := netlink.LinkSetMasterByIndex(link, b.index); err != nil {
		return fmt.Errorf("cannot attach %s to bridge %s: %w", link.Attrs().Name, n.cfg.Bridge, err)
	}
	return n.reflect(e)
}
