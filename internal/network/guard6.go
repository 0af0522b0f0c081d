package network

import (
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Types of ICMPv6 messages (RFC 4861, RFC 2710).
const (
	listenerQuery         = 130
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	redirect              = 137
)

// icmp6 matches ICMPv6 messages of a type, behind whatever headers.
func icmp6(kind byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{kind}},
	}
}

// guard lets a port of the bridge send IPv6 with its own MAC, and its own
// address or the link-local one that follows from the MAC. Of neighbour
// discovery it may say what is true of itself: nobody is a router or querier
// but the bridge, which needs to tell nobody. rule adds one for frames from
// ports; a verdict ends it.
func (t *tables6) guard(rule func(parts ...[]expr.Any)) {
	field := func(base expr.PayloadBase, offset, size, reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: size}
	}
	six := etherType(unix.ETH_P_IPV6)
	port := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}
	etherSource := field(expr.PayloadBaseLLHeader, 6, 6, reg4)
	source := field(expr.PayloadBaseNetworkHeader, ip6Source, 16, reg6)
	// It lies at the same place in both kinds of message, and so does the first
	// option: its type, its length in units of 8 bytes, a MAC.
	target := field(expr.PayloadBaseTransportHeader, 8, 16, reg6)
	option := func(kind byte) []expr.Any {
		return []expr.Any{
			field(expr.PayloadBaseTransportHeader, 24, 2, reg0),
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{kind, 1}},
		}
	}
	optionMAC := field(expr.PayloadBaseTransportHeader, 26, 6, reg4)
	// No headers between that of IP and the message, which has this many bytes.
	plain := func(size byte) []expr.Any {
		return []expr.Any{
			field(expr.PayloadBaseNetworkHeader, ip6Length, 3, reg0),
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{0, size, unix.IPPROTO_ICMPV6}},
		}
	}

	for _, kind := range []byte{listenerQuery, routerSolicitation, routerAdvertisement, redirect} {
		rule(six, icmp6(kind), drop())
	}
	// A message without options has 24 bytes.
	rule(six, icmp6(neighborAdvertisement), plain(24),
		[]expr.Any{port, etherSource, source}, inSet(t.guests),
		[]expr.Any{port, etherSource, target}, inSet(t.guests), accept())
	rule(six, icmp6(neighborAdvertisement), option(2),
		[]expr.Any{port, etherSource, source}, inSet(t.guests),
		[]expr.Any{port, optionMAC, target}, inSet(t.guests), accept())
	rule(six, icmp6(neighborAdvertisement), drop())
	// Is an address free? From nowhere, with at most a number (RFC 7527) that
	// nobody learns from.
	rule(six, icmp6(neighborSolicitation), addressIs(expr.CmpOpEq, ip6Source, netip.PrefixFrom(netip.IPv6Unspecified(), 128)),
		[]expr.Any{port, etherSource, target}, inSet(t.guests), accept())
	rule(six, icmp6(neighborSolicitation), plain(24),
		[]expr.Any{port, etherSource, source}, inSet(t.guests), accept())
	rule(six, icmp6(neighborSolicitation), option(1),
		[]expr.Any{port, etherSource, source}, inSet(t.guests),
		[]expr.Any{port, optionMAC, source}, inSet(t.guests), accept())
	rule(six, icmp6(neighborSolicitation), drop())

	rule(six, []expr.Any{port, etherSource, source}, inSet(t.guests), accept())
}
