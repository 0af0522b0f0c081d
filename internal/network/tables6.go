package network

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tables6 are the table of family ip6, which there is where the network has
// IPv6, and the set of IPv6 senders in the table of family bridge.
type tables6 struct {
	ip     *nftables.Table
	any    *nftables.Set // as in tables
	one    *nftables.Set
	up     *nftables.Set
	guests *nftables.Set
}

func newTables6(name string, br *nftables.Table) tables6 {
	t := tables6{ip: &nftables.Table{Name: name, Family: nftables.TableFamilyIPv6}}
	target := nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService)
	t.any = &nftables.Set{Table: t.ip, ID: 1, Name: "published", IsMap: true, DataType: target,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)}
	t.one = &nftables.Set{Table: t.ip, ID: 2, Name: "published-on", IsMap: true, DataType: target,
		KeyType: nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetProto, nftables.TypeInetService)}
	t.up = &nftables.Set{Table: t.ip, ID: 3, Name: uplinkSet, KeyType: nftables.TypeIFName}
	t.guests = &nftables.Set{Table: br, ID: 2, Name: "guests6",
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIP6Addr)}
	return t
}

// Offsets in an IPv6 header.
const (
	ip6Length      = 4
	ip6Next        = 6
	ip6Source      = 8
	ip6Destination = 24
)

// loadRules6 replaces the table of family ip6. nftMu is held.
func (n *Network) loadRules6() error {
	if !n.cfg.six() {
		return nil
	}
	t := &n.tables.six
	err := n.transact(func(c *nftables.Conn) error {
		c.AddTable(t.ip)
		c.DelTable(t.ip)
		if err := t.addIP(c, &n.cfg); err != nil {
			return err
		}
		all := n.allPorts()
		return addElements(c, map[*nftables.Set][]nftables.SetElement{t.any: all[t.any], t.one: all[t.one], t.up: n.uplinkElements6()})
	})
	if err != nil {
		return fmt.Errorf("cannot load nftables rules for IPv6: %w; check that the kernel has nf_tables, nft_nat, nft_masq and nft_fib_ipv6", err)
	}
	return nil
}

// addIP appends the table of family ip6 to a transaction: what addIP of tables
// does for IPv4. The resolver is asked by IPv4 alone. The kernel lets nothing
// to or from ::1 pass an interface: ports there are served by relays.
func (t *tables6) addIP(c *nftables.Conn, cfg *Config) error {
	bridge, subnet := cfg.Bridge, cfg.Subnet6
	c.AddTable(t.ip)
	for _, s := range []*nftables.Set{t.any, t.one, t.up} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	chain := chainsOf(c, t.ip)
	const is, not = expr.CmpOpEq, expr.CmpOpNeq

	pre := chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest)
	pre(t.lookupOne())
	pre(toLocal(), t.lookupAny())

	out := chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, *nftables.ChainPriorityNATDest)
	out(inPrefix(ip6Destination, netip.PrefixFrom(netip.IPv6Loopback(), 128)), verdict(expr.VerdictReturn))
	out(t.lookupOne())
	out(toLocal(), t.lookupAny())

	post := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource)
	post(oif(is, bridge), inPrefix(ip6Source, subnet), wasDNATed(), masquerade())
	if !cfg.Internal {
		post(oif(not, bridge), inPrefix(ip6Source, subnet), masquerade())
	}

	fwd := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter)
	forwardInside(fwd, cfg)
	// IPv6 has no rp_filter.
	fwd(iif(is, bridge), oif(not, bridge), addressIs(not, ip6Source, subnet), drop())
	forwardIn(fwd, cfg, t.up)

	in := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter)
	in(iif(not, bridge), iif(not, "lo"), inPrefix(ip6Destination, subnet), drop())
	if cfg.Internal {
		for _, kind := range []byte{neighborSolicitation, neighborAdvertisement} {
			in(iif(is, bridge), icmp6(kind), accept())
		}
		in(iif(is, bridge), inPrefix(ip6Destination, subnet), accept())
		in(iif(is, bridge), drop())
	}
	return nil
}

// An address fills four registers.

func (t *tables6) lookupAny() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg0, DestRegister: reg4, IsDestRegSet: true, SetName: t.any.Name, SetID: t.any.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV6, RegAddrMin: reg4, RegProtoMin: reg8},
	}
}

func (t *tables6) lookupOne() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseNetworkHeader, Offset: ip6Destination, Len: 16},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg4},
		&expr.Payload{DestRegister: reg5, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg0, DestRegister: reg4, IsDestRegSet: true, SetName: t.one.Name, SetID: t.one.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV6, RegAddrMin: reg4, RegProtoMin: reg8},
	}
}
