package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

// candidates yields the subnets to choose from: 172.18.0.0/16 to
// 172.31.0.0/16 and 10.0.0.0/16 to 10.255.0.0/16 (172.17 is left to docker's
// default bridge), then /24s at their ends, for hosts that route such blocks
// as a whole in smaller pieces.
func candidates(yield func(netip.Prefix) bool) {
	for i := 18; i < 32; i++ {
		if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i), 0, 0}), 16)) {
			return
		}
	}
	for i := range 256 {
		if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)) {
			return
		}
	}
	for i := range 256 {
		for _, a := range [][2]byte{{172, 31}, {10, 255}, {10, 0}} {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{a[0], a[1], byte(i), 0}), 24)) {
				return
			}
		}
	}
}

// chooseSubnet takes the subnet wished for, or the first of the preferred ones
// and then the candidates that overlaps nothing the host uses.
func chooseSubnet(wished, last netip.Prefix, used []netip.Prefix) (netip.Prefix, error) {
	if wished.IsValid() {
		wished = wished.Masked()
		if u, ok := overlap(wished, used); ok {
			return netip.Prefix{}, fmt.Errorf("cannot use subnet %s: it overlaps %s, which this host has a route or address for; give another one: %w", wished, u, errdefs.ErrFailedPrecondition)
		}
		return wished, nil
	}
	if last.IsValid() {
		if _, ok := overlap(last, used); !ok {
			return last, nil
		}
	}
	for c := range candidates {
		if _, ok := overlap(c, used); !ok {
			return c, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("cannot find a free subnet: this host has routes for all of 172.16.0.0/12 and 10.0.0.0/8; name one that nobody uses: %w", errdefs.ErrResourceExhausted)
}

func overlap(p netip.Prefix, used []netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(used, p.Overlaps)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return used[i], true
}

// usedPrefixes lists what the host has IPv4 routes (of any table) and addresses
// for, except the default route and what belongs to the interface except (its index; 0: none),
// and the resolvers that it asks.
func usedPrefixes(except int) ([]netip.Prefix, error) {
	var used []netip.Prefix
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 0}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's routes: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 && (except == 0 || r.LinkIndex != except) {
			used = append(used, p)
		}
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok && (except == 0 || a.LinkIndex != except) {
			used = append(used, p.Masked())
		}
	}
	for _, s := range readResolvConf().servers {
		if s.Is4() {
			used = append(used, netip.PrefixFrom(s, 32))
		}
	}
	return used, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}

// gatewayOf returns the first address of a subnet.
func gatewayOf(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// hostAt returns the address with number i of a subnet.
func hostAt(p netip.Prefix, i uint32) netip.Addr {
	b := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+i)
	return netip.AddrFrom4(b)
}

// usable says whether a host of a subnet may have an address: all but the
// subnet's own and the one for broadcasts.
func usable(p netip.Prefix, a netip.Addr) bool {
	return a.Is4() && p.IsValid() && p.Contains(a) && a != p.Masked().Addr() && a != hostAt(p, 1<<(32-p.Bits())-1)
}

// macOf derives a locally administered MAC from an address.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

// FreeSubnet returns a subnet for a new network: the wished one, or when that
// is not valid one that is free. It must overlap none of others and nothing
// that the host uses; clash is what a wished one overlaps.
func FreeSubnet(wished netip.Prefix, others []netip.Prefix) (p, clash netip.Prefix, err error) {
	used, err := usedPrefixes(0)
	if err != nil {
		return netip.Prefix{}, netip.Prefix{}, err
	}
	used = append(used, others...)
	if wished.IsValid() {
		clash, _ = overlap(wished, used)
		return wished.Masked(), clash, nil
	}
	p, err = chooseSubnet(netip.Prefix{}, netip.Prefix{}, used)
	return p, netip.Prefix{}, err
}
