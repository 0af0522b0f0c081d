package network

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// openUplinks lets the host's other interfaces forward, as containers need for
// answers and for published ports. The kernel decides by the interface that a
// packet comes in on, so the bridge's own setting is not enough. Interfaces
// that forward already are left alone. The others are entered in a set of the
// table: nothing may be forwarded between two of them, so that the host does
// not become a router; and Close sets back what only this engine needed.
// The caller holds the lock file.
func (n *Network) openUplinks() error {
	if v, err := readSysctl("ipv4", "ip_forward"); err == nil && v == "1" {
		return nil
	}
	links, err := linkList()
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	others, err := uplinksOf(nftables.TableFamilyIPv4)
	if err != nil {
		return err
	}
	shared := map[string]bool{} // forwarding on another engine's account
	for _, names := range others {
		for _, name := range names {
			shared[name] = true
		}
	}
	var errs []error
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	for _, l := range links {
		a := l.Attrs()
		routed := slices.ContainsFunc(addrs, func(ad netlink.Addr) bool { return ad.LinkIndex == a.Index && ad.Scope < unix.RT_SCOPE_LINK })
		if !routed || a.RawFlags&unix.IFF_LOOPBACK != 0 || strings.HasPrefix(a.Alias, aliasPrefix) || n.uplinks[a.Name] {
			continue
		}
		v, err := readSysctl("ipv4", "conf", a.Name, "forwarding")
		if err != nil || v == "1" && !shared[a.Name] {
			continue
		}
		if v != "1" {
			if err := writeSysctl("1", "ipv4", "conf", a.Name, "forwarding"); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		n.uplinks[a.Name] = true
	}
	return errors.Join(errs...)
}

// closeUplinks sets back what openUplinks set, except where another engine
// still needs it. The caller holds the lock file; this engine's tables may be
// gone already.
func (n *Network) closeUplinks() error {
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	if len(n.uplinks) == 0 {
		return nil
	}
	others, err := uplinksOf(nftables.TableFamilyIPv4)
	if err != nil {
		return err
	}
	delete(others, n.cfg.Bridge)
	var errs []error
	for name := range n.uplinks {
		needed := false
		for _, names := range others {
			needed = needed || slices.Contains(names, name)
		}
		if _, err := readSysctl("ipv4", "conf", name, "forwarding"); err == nil && !needed {
			errs = append(errs, writeSysctl("0", "ipv4", "conf", name, "forwarding"))
		}
		delete(n.uplinks, name)
	}
	return errors.Join(errs...)
}

// recallUplinks takes over what an earlier daemon had opened.
func (n *Network) recallUplinks() error {
	if err := n.recallUplinks6(); err != nil {
		return err
	}
	all, err := uplinksOf(nftables.TableFamilyIPv4)
	if err != nil {
		return err
	}
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	for _, name := range all[n.cfg.Bridge] {
		n.uplinks[name] = true
	}
	return nil
}

func (n *Network) uplinkElements() []nftables.SetElement {
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	return nameElements(n.uplinks)
}

func nameElements(names map[string]bool) []nftables.SetElement {
	var elems []nftables.SetElement
	for _, name := range slices.Sorted(maps.Keys(names)) {
		elems = append(elems, nftables.SetElement{Key: ifname(name)})
	}
	return elems
}

// watchUplinks opens interfaces that get an address while the network is up,
// until done is closed.
func (n *Network) watchUplinks(done <-chan struct{}) error {
	updates := make(chan netlink.AddrUpdate, 64)
	err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
		ErrorCallback: func(err error) { n.log.Debug("watching the host's addresses", "error", err) },
	})
	if err != nil {
		return err
	}
	go func() {
		for u := range updates {
			if u.NewAddr && (u.LinkAddress.IP.To4() != nil || n.newUplink6(u.LinkIndex)) {
				n.addressAdded(done)
			}
		}
	}()
	return nil
}

// addressAdded opens an interface that has come up and tells the table of it.
func (n *Network) addressAdded(done <-chan struct{}) {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		unlock, err := lockHost(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		select {
		case <-done: // Close may have set everything back already
			return nil
		default:
		}
		if err := errors.Join(n.openUplinks(), n.planUplinks6()); err != nil {
			return err
		}
		elems := map[*nftables.Set][]nftables.SetElement{n.tables.up: n.uplinkElements()}
		if n.cfg.six() {
			elems[n.tables.six.up] = n.uplinkElements6()
		}
		n.nftMu.Lock()
		defer n.nftMu.Unlock()
		return n.transact(func(c *nftables.Conn) error {
			if n.cfg.six() { // interfaces come and go
				c.FlushSet(n.tables.six.up)
			}
			return addElements(c, elems)
		})
	}()
	if err != nil {
		n.log.Warn("cannot let a new interface of the host forward for containers", "error", err)
	}
}
