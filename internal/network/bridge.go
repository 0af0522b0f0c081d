package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/cleanup"
)

// aliasPrefix begins the alias of every engine's bridge; its state directory follows.
const aliasPrefix = "abode "

// lockPath is the file whose flock(2) an engine holds from choosing a subnet
// until its bridge has it, and while it changes other interfaces' settings.
const lockPath = "/run/abode-network.lock"

// A bridge is one that exists with its address.
type bridge struct {
	index int
	mtu   int
}

func (n *Network) alias() string {
	dir, err := filepath.Abs(n.cfg.Dir)
	if err != nil {
		dir = n.cfg.Dir
	}
	a := aliasPrefix + dir
	if len(a) > 255 { // IFALIASZ
		a = a[:255]
	}
	return a
}

// findBridge looks for this engine's bridge; nil when there is none. Another's
// interface of the same name is an error.
func (n *Network) findBridge() (netlink.Link, error) {
	link, err := netlink.LinkByName(n.cfg.Bridge)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look for bridge %s: %w", n.cfg.Bridge, err)
	}
	if halfMade(link) {
		if err := netlink.LinkDel(link); err != nil && !isGone(err) {
			return nil, fmt.Errorf("cannot remove the half-made bridge %s: %w", n.cfg.Bridge, err)
		}
		return nil, nil
	}
	return link, n.checkOwner(link)
}

// checkOwner refuses an interface that is not this engine's bridge.
func (n *Network) checkOwner(link netlink.Link) error {
	if link.Type() == "bridge" && link.Attrs().Alias == n.alias() {
		return nil
	}
	owner := "is not one of an engine's"
	if dir, ok := strings.CutPrefix(link.Attrs().Alias, aliasPrefix); ok {
		owner = "belongs to the engine with the state directory " + dir
	}
	return fmt.Errorf("cannot use bridge %s: an interface of this name %s; give this engine another with --bridge: %w", n.cfg.Bridge, owner, errdefs.ErrFailedPrecondition)
}

// claim makes the bridge's name this process's for as long as it lives, or
// says whose it is: an engine learns it at its start, not at the first
// container. What a daemon that died left is this engine's as before.
func (n *Network) claim() (release func(), err error) {
	if link, err := netlink.LinkByName(n.cfg.Bridge); err == nil && !halfMade(link) {
		if err := n.checkOwner(link); err != nil {
			return nil, err
		}
	}
	return lockName(n.cfg.Bridge)
}

// halfMade tells a bridge that a daemon made and was killed before it could
// mark it: the kernel takes a mark only afterwards. It is down, has no address,
// no mark and the hardware address that makeBridge chooses; nobody uses it.
func halfMade(link netlink.Link) bool {
	a := link.Attrs()
	if link.Type() != "bridge" || a.Alias != "" || a.Flags&net.FlagUp != 0 || !bytes.HasPrefix(a.HardwareAddr, []byte{0x02, 0x42}) {
		return false
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	return err == nil && len(addrs) == 0
}

// makeBridge makes the bridge, or takes over the one that an earlier daemon
// made. The caller holds the lock file.
func (n *Network) makeBridge() (b bridge, err error) {
	link, err := n.findBridge()
	if err != nil {
		return bridge{}, err
	}
	index := 0
	if link != nil {
		index = link.Attrs().Index
	}
	used, err := usedPrefixes(index)
	if err != nil {
		return bridge{}, err
	}
	if err := n.checkSubnet6(index); err != nil {
		return bridge{}, err
	}
	last := n.ledger.subnet()
	if p, ok := subnetOf(link); ok {
		last = p
	}
	subnet := last
	// Containers that run keep the subnet that they were told.
	if !last.IsValid() || len(n.ledger.all()) == 0 {
		if subnet, err = chooseSubnet(n.cfg.Subnet, last, append(used, n.cfg.reserved()...)); err != nil {
			return bridge{}, err
		}
	}
	n.ledger.setSubnet(subnet)

	var cu cleanup.Stack
	defer cu.Clean()
	mtu := uplinkMTU()
	if n.cfg.six() {
		mtu = max(mtu, minMTU6)
	}
	if link == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.cfg.Bridge
		attrs.MTU = mtu
		// A fixed address: else the bridge takes on that of a port, and
		// neighbours keep a wrong one when that port goes.
		attrs.HardwareAddr = macOf(n.cfg.gateway(subnet))
		link = &netlink.Bridge{LinkAttrs: attrs}
		if err := netlink.LinkAdd(link); err != nil {
			return bridge{}, fmt.Errorf("cannot make bridge %s: %w", n.cfg.Bridge, err)
		}
		cu.Add(func() { _ = netlink.LinkDel(link) })
		if err := netlink.LinkSetAlias(link, n.alias()); err != nil {
			return bridge{}, fmt.Errorf("cannot mark bridge %s: %w", n.cfg.Bridge, err)
		}
	} else if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return bridge{}, fmt.Errorf("cannot set the MTU of bridge %s: %w", n.cfg.Bridge, err)
	}
	if err := setBridgeSysctls(n.cfg.Bridge); err != nil {
		return bridge{}, err
	}
	if err := n.setBridgeAddress(link, subnet); err != nil {
		return bridge{}, err
	}
	if err := n.setBridge6(link); err != nil {
		return bridge{}, err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return bridge{}, fmt.Errorf("cannot start bridge %s: %w", n.cfg.Bridge, err)
	}
	cu.Release()
	return bridge{index: link.Attrs().Index, mtu: mtu}, nil
}

func (n *Network) setBridgeAddress(link netlink.Link, subnet netip.Prefix) error {
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("cannot list the addresses of bridge %s: %w", n.cfg.Bridge, err)
	}
	want := &net.IPNet{IP: n.cfg.gateway(subnet).AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}
	have := false
	for _, a := range addrs {
		if a.IPNet.String() == want.String() {
			have = true
		} else if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("cannot remove address %s of bridge %s: %w", a.IPNet, n.cfg.Bridge, err)
		}
	}
	if have {
		return nil
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: want}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot give bridge %s the address %s: %w", n.cfg.Bridge, want, err)
	}
	return nil
}

// subnetOf reads the subnet of a bridge that exists.
func subnetOf(link netlink.Link) (netip.Prefix, bool) {
	if link == nil {
		return netip.Prefix{}, false
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) == 0 {
		return netip.Prefix{}, false
	}
	p, ok := prefixOf(addrs[0].IPNet)
	return p.Masked(), ok
}

// uplinkMTU returns the MTU of the interface of the default route, or
// Ethernet's when there is none.
func uplinkMTU() int {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return 1500
	}
	for _, r := range routes {
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			if mtu := link.Attrs().MTU; mtu >= 576 && mtu <= 65535 {
				return mtu
			}
		}
	}
	return 1500
}

// removeBridge removes this engine's bridge, if it is there.
func (n *Network) removeBridge() error {
	link, err := n.findBridge()
	if link == nil || err != nil {
		return nil // another's is none of ours
	}
	if err := netlink.LinkDel(link); err != nil && !isGone(err) {
		return fmt.Errorf("cannot remove bridge %s: %w", n.cfg.Bridge, err)
	}
	return nil
}
