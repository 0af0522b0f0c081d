package network

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// For IPv6 the kernel forwards between all interfaces or none; what an
// interface's own setting says is whether it is a router's, that is whether it
// takes addresses and routes from routers no more. So the first network needs
// to switch forwarding on as a whole, without a change to what interfaces are.

// forwardAll among a table's uplinks says that the host forwards IPv6 on the
// engine's account. No interface can have this name beside the setting's.
const forwardAll = "all"

// planUplinks6 finds out whether forwarding is to be switched on, and between
// which interfaces nothing may be forwarded then. It changes nothing but what
// the tables will say. The caller holds the lock file.
func (n *Network) planUplinks6() error {
	if !n.cfg.six() || n.cfg.Internal {
		return nil
	}
	v, err := readSysctl("ipv6", "conf", forwardAll, "forwarding")
	if err != nil {
		return fmt.Errorf("cannot tell whether the host forwards IPv6: %w", err)
	}
	others, err := uplinksOf(nftables.TableFamilyIPv6)
	if err != nil {
		return err
	}
	shared := map[string]bool{}
	for _, names := range others {
		for _, name := range names {
			shared[name] = true
		}
	}
	links, err := linkList()
	if err != nil {
		return err
	}
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	if v == "1" && !shared[forwardAll] && !n.uplinks6[forwardAll] {
		return nil // a router already
	}
	n.uplinks6[forwardAll] = true
	bridges, there := map[int]bool{}, map[string]bool{forwardAll: true}
	for _, l := range links {
		bridges[l.Attrs().Index], there[l.Attrs().Name] = l.Type() == "bridge", true
	}
	maps.DeleteFunc(n.uplinks6, func(name string, _ bool) bool { return !there[name] })
	for _, l := range links {
		a := l.Attrs()
		// One without an address of its own takes in what is to be forwarded too.
		if bridges[a.MasterIndex] || a.RawFlags&unix.IFF_LOOPBACK != 0 || strings.HasPrefix(a.Alias, aliasPrefix) {
			continue
		}
		if v, err := readSysctl("ipv6", "conf", a.Name, "forwarding"); err == nil && (v == "0" || shared[a.Name]) {
			n.uplinks6[a.Name] = true
		}
	}
	return nil
}

// newUplink6 says whether an interface that has got an IPv6 address may be one
// between which nothing may be forwarded. Ports of bridges get addresses with
// every container that starts, and are none.
func (n *Network) newUplink6(index int) bool {
	if !n.cfg.six() {
		return false
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return false
	}
	if m := l.Attrs().MasterIndex; m != 0 {
		if master, err := netlink.LinkByIndex(m); err == nil && master.Type() == "bridge" {
			return false
		}
	}
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	return n.uplinks6[forwardAll] && !n.uplinks6[l.Attrs().Name]
}

// openUplinks6 does what is planned. The tables hold it already: what a crash
// leaves is known, and nothing is forwarded that was not before.
func (n *Network) openUplinks6() error {
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	if v, err := readSysctl("ipv6", "conf", forwardAll, "forwarding"); !n.uplinks6[forwardAll] || err == nil && v == "1" {
		return nil
	}
	return setForwarding6("1")
}

// closeUplinks6 sets back what openUplinks6 set, unless somebody else needs it
// now. The caller holds the lock file; the tables are still there.
func (n *Network) closeUplinks6() error {
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	if !n.uplinks6[forwardAll] {
		return nil
	}
	others, err := uplinksOf(nftables.TableFamilyIPv6)
	if err != nil {
		return err
	}
	delete(others, n.cfg.Bridge)
	needed := false
	for _, names := range others {
		needed = needed || slices.Contains(names, forwardAll)
	}
	// Who makes the host a router says so for interfaces to come too.
	if v, err := readSysctl("ipv6", "conf", "default", "forwarding"); err == nil && v == "1" {
		needed = true
	}
	if !needed {
		err = setForwarding6("0")
	}
	if err == nil {
		clear(n.uplinks6)
	}
	return err
}

// recallUplinks6 takes over what an earlier daemon had opened.
func (n *Network) recallUplinks6() error {
	if !n.cfg.six() {
		return nil
	}
	all, err := uplinksOf(nftables.TableFamilyIPv6)
	if err != nil {
		return err
	}
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	for _, name := range all[n.cfg.Bridge] {
		n.uplinks6[name] = true
	}
	return nil
}

func (n *Network) uplinkElements6() []nftables.SetElement {
	n.uplinkMu.Lock()
	defer n.uplinkMu.Unlock()
	return nameElements(n.uplinks6)
}

// setForwarding6 lets the host forward IPv6, or no more. The kernel makes all
// interfaces the same thereby; each is made again what it was. Meanwhile they
// go on listening to routers (accept_ra 2), or their routes would be lost.
func setForwarding6(value string) error {
	dirs, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return fmt.Errorf("cannot list the interfaces that have IPv6: %w", err)
	}
	was := map[string]string{}
	listens := map[string]bool{}
	for _, d := range dirs {
		name := d.Name()
		v, err := readSysctl("ipv6", "conf", name, "forwarding")
		if name == forwardAll || err != nil {
			continue
		}
		was[name] = v
		if ra, err := readSysctl("ipv6", "conf", name, "accept_ra"); err == nil && ra == "1" && v == "0" && name != "default" {
			listens[name] = writeSysctl("2", "ipv6", "conf", name, "accept_ra") == nil
		}
	}
	errs := []error{writeSysctl(value, "ipv6", "conf", forwardAll, "forwarding")}
	put := func(value, name, key string) {
		if err := writeSysctl(value, "ipv6", "conf", name, key); !errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			errs = append(errs, err)
		}
	}
	for name, v := range was {
		if now, err := readSysctl("ipv6", "conf", name, "forwarding"); err == nil && now != v {
			put(v, name, "forwarding")
		}
		if listens[name] {
			put("1", name, "accept_ra")
		}
	}
	return errors.Join(errs...)
}
