package network

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

// six says whether the network has IPv6 beside IPv4.
func (c *Config) six() bool { return c.Subnet6.IsValid() }

func (c *Config) gateway6() netip.Addr {
	if c.Gateway6.IsValid() || !c.six() {
		return c.Gateway6
	}
	return gatewayOf(c.Subnet6)
}

func (c *Config) check6() error {
	p := c.Subnet6
	if p == (netip.Prefix{}) {
		if c.Gateway6.IsValid() || c.Range6 != (netip.Prefix{}) {
			return fmt.Errorf("cannot use a gateway or a range of addresses without an IPv6 subnet for bridge %s: %w", c.Bridge, errdefs.ErrInvalidArgument)
		}
		return nil
	}
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p.Bits() < 8 || p.Bits() > 126 || p != p.Masked() {
		return fmt.Errorf("cannot use %s as the IPv6 subnet of bridge %s: it must be of /8 to /126: %w", p, c.Bridge, errdefs.ErrInvalidArgument)
	}
	if c.Gateway6.IsValid() && !usable6(p, c.Gateway6) {
		return fmt.Errorf("cannot use %s as the gateway of bridge %s: it is none that a host of %s may have: %w", c.Gateway6, c.Bridge, p, errdefs.ErrInvalidArgument)
	}
	if r := c.Range6; r != (netip.Prefix{}) && (!r.IsValid() || r.Bits() < p.Bits() || !p.Contains(r.Addr())) {
		return fmt.Errorf("cannot choose addresses of bridge %s from %s: it does not lie in %s: %w", c.Bridge, r, p, errdefs.ErrInvalidArgument)
	}
	return nil
}

// usable6 says whether a host of a subnet may have an address: all but the
// first, which means any router of the subnet (RFC 4291).
func usable6(p netip.Prefix, a netip.Addr) bool {
	return a.Is6() && a.Zone() == "" && p.IsValid() && p.Contains(a) && a != p.Masked().Addr()
}

// linkLocalOf is the address that the kernel derives from a MAC (RFC 4291).
func linkLocalOf(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

// FreeSubnet6 is FreeSubnet for IPv6: where none is wished it chooses a /64 of
// the unique local addresses at random (RFC 4193).
func FreeSubnet6(wished netip.Prefix, others []netip.Prefix) (p, clash netip.Prefix, err error) {
	used, err := usedPrefixes6(0)
	if err != nil {
		return netip.Prefix{}, netip.Prefix{}, err
	}
	used = append(used, others...)
	if wished.IsValid() {
		clash, _ = overlap(wished, used)
		return wished.Masked(), clash, nil
	}
	for range 1000 {
		var b [16]byte
		rand.Read(b[1:8])
		b[0] = 0xfd
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		if _, ok := overlap(p, used); !ok {
			return p, netip.Prefix{}, nil
		}
	}
	return netip.Prefix{}, netip.Prefix{}, fmt.Errorf("cannot find a free IPv6 subnet: this host has routes for fd00::/8; name one that nobody uses: %w", errdefs.ErrResourceExhausted)
}

// usedPrefixes6 is usedPrefixes for IPv6, without what every link has.
func usedPrefixes6(except int) ([]netip.Prefix, error) {
	var used []netip.Prefix
	add := func(n *net.IPNet, index int) {
		p, ok := prefixOf(n)
		if ok && p.Bits() > 0 && (except == 0 || index != except) && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			used = append(used, p.Masked())
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: 0}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's IPv6 routes: %w", err)
	}
	for _, r := range routes {
		add(r.Dst, r.LinkIndex)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's IPv6 addresses: %w", err)
	}
	for _, a := range addrs {
		add(a.IPNet, a.LinkIndex)
	}
	for _, s := range readResolvConf().servers {
		if s.Is6() && s.Zone() == "" {
			used = append(used, netip.PrefixFrom(s, 128))
		}
	}
	return used, nil
}

// addresses are all that a lease's container has.
func (e lease) addresses() []netip.Addr {
	if !e.Address6.IsValid() {
		return []netip.Addr{e.Address}
	}
	return []netip.Addr{e.Address, e.Address6}
}

// choose6 is choose for IPv6; not valid in a network without. l.mu is held.
func (l *ledger) choose6(r Request) (netip.Addr, error) {
	s, pool := l.subnet6, l.pool6
	if !s.IsValid() {
		return netip.Addr{}, nil
	}
	if !pool.IsValid() {
		pool = s
	}
	taken := make(map[netip.Addr]bool, len(l.d.Leases))
	for id, e := range l.d.Leases {
		if id != r.ID {
			taken[e.Address6] = true
		}
	}
	free := func(a netip.Addr) bool { return usable6(s, a) && a != l.gateway6 && !taken[a] }
	if free(r.Address6) {
		return r.Address6, nil
	}
	kept := make(map[netip.Addr]bool, len(l.d.Past))
	for _, p := range l.d.Past {
		if p.ID == r.ID && free(p.Address6) && pool.Contains(p.Address6) {
			return p.Address6, nil
		}
		kept[p.Address6] = true
	}
	// So many at most are not to be had.
	for range len(taken) + len(kept) + 3 {
		a := l.next6
		if !pool.Contains(a) {
			a = pool.Masked().Addr()
		}
		l.next6 = a.Next()
		if free(a) && !kept[a] {
			return a, nil
		}
	}
	for _, p := range l.d.Past { // the oldest first
		if free(p.Address6) && pool.Contains(p.Address6) {
			return p.Address6, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("cannot give the container an IPv6 address: all of %s are taken; remove containers, or use a network with a larger subnet: %w", pool, errdefs.ErrResourceExhausted)
}

// parseReverse6 reads the address out of a name of 32 digits below ip6.arpa.
func parseReverse6(name string) (netip.Addr, bool) {
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		d := strings.IndexByte("0123456789abcdef", rest[2*i])
		if d < 0 || i > 0 && rest[2*i-1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(d) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
