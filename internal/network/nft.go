package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// maxElements is how many elements one message may carry: a netlink attribute
// has at most 64 KiB.
const maxElements = 200

// loadRules replaces the tables with new ones that hold all leases. Each table
// changes in one transaction, so that no packet sees it half made.
func (n *Network) loadRules() error {
	n.nftMu.Lock()
	defer n.nftMu.Unlock()
	uplinks := n.uplinkElements()
	err := n.transact(func(c *nftables.Conn) error {
		c.AddTable(n.tables.ip)
		c.DelTable(n.tables.ip)
		if err := n.tables.addIP(c, &n.cfg, n.ledger.subnet(), n.dns.port()); err != nil {
			return err
		}
		all := n.allPorts()
		return addElements(c, map[*nftables.Set][]nftables.SetElement{n.tables.any: all[n.tables.any], n.tables.one: all[n.tables.one], n.tables.up: uplinks})
	})
	if err != nil {
		return fmt.Errorf("cannot load nftables rules: %w; check that the kernel has nf_tables, nft_nat, nft_masq, nft_fib_ipv4 and nft_redir", err)
	}
	if err := n.loadRules6(); err != nil {
		return err
	}
	err = n.transact(func(c *nftables.Conn) error {
		c.AddTable(n.tables.br)
		c.DelTable(n.tables.br)
		if err := n.tables.addBridge(c, linkPrefix(n.cfg.Bridge)+kindHost, n.cfg.six()); err != nil {
			return err
		}
		elems := map[*nftables.Set][]nftables.SetElement{}
		for _, e := range n.ledger.all() {
			n.guestElements(e, elems)
			n.tapElements(e, elems)
		}
		return addElements(c, elems)
	})
	n.guarded = err == nil
	for _, e := range n.ledger.all() {
		if e.Trunk == "" {
			continue
		}
		if err := n.detourOf(e); err != nil {
			n.log.Warn("a virtual machine is cut off from a network; restart it", "container", e.ID, "error", err)
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		n.log.Warn("this kernel has no nftables for bridges (CONFIG_NF_TABLES_BRIDGE): containers can send with each other's addresses")
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot load nftables rules for the bridge: %w", err)
	}
	return nil
}

// addRules lets a lease send, and publishes its ports.
func (n *Network) addRules(e lease) error {
	n.held.relay(e)
	elems := map[*nftables.Set][]nftables.SetElement{}
	n.portElements(e, elems)
	n.guestElements(e, elems)
	n.tapElements(e, elems)
	return n.changeRules(elems, addElements)
}

// removeRules undoes addRules, but for what keeps a port from sending.
func (n *Network) removeRules(e lease) error {
	elems := map[*nftables.Set][]nftables.SetElement{}
	n.portElements(e, elems)
	n.guestElements(e, elems)
	return n.dropElements(elems)
}

// unguard undoes the rest of addRules, when a lease's port is none any more.
func (n *Network) unguard(e lease) error {
	elems := map[*nftables.Set][]nftables.SetElement{}
	n.tapElements(e, elems)
	return n.dropElements(elems)
}

func (n *Network) dropElements(elems map[*nftables.Set][]nftables.SetElement) error {
	remove := func(c *nftables.Conn, elems map[*nftables.Set][]nftables.SetElement) error {
		for set, es := range elems {
			if err := c.SetDeleteElements(set, es); err != nil {
				return err
			}
		}
		return nil
	}
	err := n.changeRules(elems, remove)
	if isMissing(err) {
		// Others flushed some of our rules; what is left is not known.
		if err = n.loadRules(); err == nil {
			err = n.changeRules(elems, remove)
		}
	}
	return err
}

func (n *Network) changeRules(elems map[*nftables.Set][]nftables.SetElement, change func(*nftables.Conn, map[*nftables.Set][]nftables.SetElement) error) error {
	n.nftMu.Lock()
	defer n.nftMu.Unlock()
	if !n.guarded {
		for _, s := range []*nftables.Set{n.tables.guests, n.tables.six.guests, n.tables.taps} {
			delete(elems, s)
		}
	}
	err := n.transact(func(c *nftables.Conn) error { return change(c, elems) })
	if err != nil {
		return fmt.Errorf("cannot change nftables rules: %w", err)
	}
	return nil
}

// allPorts are the elements of all leases, of both families.
func (n *Network) allPorts() map[*nftables.Set][]nftables.SetElement {
	elems := map[*nftables.Set][]nftables.SetElement{}
	for _, e := range n.ledger.all() {
		n.portElements(e, elems)
	}
	return elems
}

func (n *Network) portElements(e lease, elems map[*nftables.Set][]nftables.SetElement) {
	for _, p := range e.Ports {
		addr := e.Address
		if p.HostIP.Is6() {
			addr = e.Address6
		}
		set, el := n.tables.portElement(p, addr)
		elems[set] = append(elems[set], el)
	}
}

func (n *Network) guestElements(e lease, elems map[*nftables.Set][]nftables.SetElement) {
	mac, _ := net.ParseMAC(e.MAC) // checked when it was entered
	port := n.port(e)
	add := func(s *nftables.Set, addr netip.Addr) { elems[s] = append(elems[s], guestElement(port, mac, addr)) }
	add(n.tables.guests, e.Address)
	if e.Address6.IsValid() {
		add(n.tables.six.guests, e.Address6)
		add(n.tables.six.guests, linkLocalOf(mac))
	}
}

func (n *Network) tapElements(e lease, elems map[*nftables.Set][]nftables.SetElement) {
	if e.Port != "" {
		elems[n.tables.taps] = append(elems[n.tables.taps], nftables.SetElement{Key: ifname(e.Port)})
	}
}

func addElements(c *nftables.Conn, elems map[*nftables.Set][]nftables.SetElement) error {
	for set, es := range elems {
		for len(es) > 0 {
			k := min(len(es), maxElements)
			if err := c.SetAddElements(set, es[:k]); err != nil {
				return err
			}
			es = es[k:]
		}
	}
	return nil
}

// transact sends what fill appends as one transaction. One connection serves
// all: to close one waits until the kernel has freed what earlier transactions
// replaced (nft_rcv_nl_event in net/netfilter/nf_tables_api.c), a grace period
// that every start would have to sit out. nftMu is held.
func (n *Network) transact(fill func(*nftables.Conn) error) (err error) {
	if n.nft == nil {
		if n.nft, err = nftables.New(nftables.AsLasting()); err != nil {
			return err
		}
	}
	if err = fill(n.nft); err == nil {
		err = n.nft.Flush()
	}
	if err != nil {
		n.hangUp() // answers to it, and what was not sent, are not the next one's
	}
	return err
}

// hangUp closes the connection, if there is one. nftMu is held.
func (n *Network) hangUp() {
	if n.nft != nil {
		_ = n.nft.CloseLasting()
		n.nft = nil
	}
}

// unloadRules removes the tables, if they are there.
func (n *Network) unloadRules() error {
	n.nftMu.Lock()
	defer n.nftMu.Unlock()
	var errs []error
	list := []*nftables.Table{n.tables.ip, n.tables.br}
	if n.cfg.six() {
		list = append(list, n.tables.six.ip)
	}
	for _, t := range list {
		err := n.transact(func(c *nftables.Conn) error {
			c.DelTable(t)
			return nil
		})
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) {
			errs = append(errs, fmt.Errorf("cannot remove nftables table %s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}

// uplinksOf reads which interfaces forward on the account of each engine's table, by bridge.
func uplinksOf(family nftables.TableFamily) (map[string][]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	list, err := c.ListTablesOfFamily(family)
	if err != nil {
		return nil, fmt.Errorf("cannot list nftables tables: %w", err)
	}
	all := map[string][]string{}
	for _, t := range list {
		bridge, ok := strings.CutPrefix(t.Name, tablePrefix)
		if !ok {
			continue
		}
		elems, err := c.GetSetElements(&nftables.Set{Table: t, Name: uplinkSet})
		if err != nil {
			continue // removed meanwhile, or another's table
		}
		all[bridge] = nil
		for _, e := range elems {
			name, _, _ := strings.Cut(string(e.Key), "\x00")
			all[bridge] = append(all[bridge], name)
		}
	}
	return all, nil
}
