package network

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tablePrefix begins the names of every engine's tables; its bridge's name follows.
const tablePrefix = "abode-"

// tables names the tables and sets of one engine. Containers and published
// ports are elements of the sets, so that the rules never change.
type tables struct {
	ip  *nftables.Table
	any *nftables.Set // protocol, port → container's address and port: published on all addresses
	one *nftables.Set // host's address, protocol, port → the same: published on one address
	up  *nftables.Set // interfaces that forward on this engine's account

	br     *nftables.Table
	guests *nftables.Set // port of the bridge, MAC, address: who may send what
	taps   *nftables.Set // ports of the bridge whose names do not tell that they are

	six tables6
}

func newTables(bridge string) *tables {
	name := tablePrefix + bridge
	t := &tables{
		ip: &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4},
		br: &nftables.Table{Name: name, Family: nftables.TableFamilyBridge},
	}
	target := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	t.any = &nftables.Set{Table: t.ip, ID: 1, Name: "published", IsMap: true, DataType: target,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)}
	t.one = &nftables.Set{Table: t.ip, ID: 2, Name: "published-on", IsMap: true, DataType: target,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)}
	t.up = &nftables.Set{Table: t.ip, ID: 3, Name: uplinkSet, KeyType: nftables.TypeIFName}
	t.guests = &nftables.Set{Table: t.br, ID: 1, Name: "guests",
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)}
	t.taps = &nftables.Set{Table: t.br, ID: 3, Name: "taps", KeyType: nftables.TypeIFName}
	t.six = newTables6(name, t.br)
	return t
}

const uplinkSet = "uplinks"

// addIP appends the table of family ip to a transaction.
func (t *tables) addIP(c *nftables.Conn, cfg *Config, subnet netip.Prefix, dnsPort uint16) error {
	bridge := cfg.Bridge
	c.AddTable(t.ip)
	for _, s := range []*nftables.Set{t.any, t.one, t.up} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	chain := chainsOf(c, t.ip)
	const is, not = expr.CmpOpEq, expr.CmpOpNeq
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	gateway := netip.PrefixFrom(cfg.gateway(subnet), 32)

	// route_localnet on the bridge must not open the host's loopback to guests.
	raw := chain("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw)
	raw(iif(is, bridge), inPrefix(ipDestination, loopback), drop())

	pre := chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest)
	if dnsPort != 53 {
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			pre(iif(is, bridge), inPrefix(ipDestination, gateway), toPort(proto, 53), []expr.Any{
				&expr.Immediate{Register: reg0, Data: binary.BigEndian.AppendUint16(nil, dnsPort)},
				&expr.Redir{RegisterProtoMin: reg0},
			})
		}
	}
	// From elsewhere this destination is forged; NAT would hide it from the
	// kernel's own check.
	pre(inPrefix(ipDestination, loopback), verdict(expr.VerdictReturn))
	pre(t.lookupOne())
	pre(toLocal(), t.lookupAny())

	out := chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, *nftables.ChainPriorityNATDest)
	out(t.lookupOne())
	out(toLocal(), t.lookupAny())

	post := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource)
	post(oif(is, bridge), inPrefix(ipSource, loopback), masquerade())
	// From a container through a published port to a container: the answer has
	// to come back here, not straight over the bridge.
	post(oif(is, bridge), inPrefix(ipSource, subnet), wasDNATed(), masquerade())
	if !cfg.Internal {
		post(oif(not, bridge), inPrefix(ipSource, subnet), masquerade())
	}

	fwd := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter)
	forwardInside(fwd, cfg)
	forwardIn(fwd, cfg, t.up)

	in := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter)
	in(iif(not, bridge), iif(not, "lo"), inPrefix(ipDestination, subnet), drop())
	if cfg.Internal {
		in(iif(is, bridge), inPrefix(ipDestination, subnet), accept())
		in(iif(is, bridge), drop())
	}
	return nil
}

// lookupAny sends a connection on where the map says, if it says so.
func (t *tables) lookupAny() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg0, DestRegister: reg4, IsDestRegSet: true, SetName: t.any.Name, SetID: t.any.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg4, RegProtoMin: reg5},
	}
}

func (t *tables) lookupOne() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseNetworkHeader, Offset: ipDestination, Len: 4},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Payload{DestRegister: reg2, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg0, DestRegister: reg4, IsDestRegSet: true, SetName: t.one.Name, SetID: t.one.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg4, RegProtoMin: reg5},
	}
}

// addBridge appends the table of family bridge to a transaction. It looks at a
// frame before the bridge learns from it.
func (t *tables) addBridge(c *nftables.Conn, prefix string, six bool) error {
	c.AddTable(t.br)
	for _, s := range []*nftables.Set{t.guests, t.six.guests, t.taps} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	prio := nftables.ChainPriority(-300) // NF_BR_PRI_NAT_DST_BRIDGED: before bridge-nf hands frames to IP's hooks
	policy := nftables.ChainPolicyAccept
	ch := c.AddChain(&nftables.Chain{Name: "guard", Table: t.br, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: &prio, Policy: &policy})
	rule := func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t.br, Chain: ch, Exprs: matches(parts...)})
	}
	field := func(base expr.PayloadBase, offset, size, reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: size}
	}
	// An interface's name fills four registers, a MAC two.
	port := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}
	etherSource := field(expr.PayloadBaseLLHeader, 6, 6, reg4)
	tap := append([]expr.Any{port}, inSet(t.taps)...)
	for _, ours := range [][]expr.Any{iifPrefix(prefix), tap} {
		rule(ours, etherType(unix.ETH_P_IP),
			[]expr.Any{port, etherSource, field(expr.PayloadBaseNetworkHeader, ipSource, 4, reg6)},
			inSet(t.guests), accept())
		// RFC 826, Ethernet and IPv4: sender's MAC at 8, its address at 14.
		arpSender := field(expr.PayloadBaseNetworkHeader, 14, 4, reg6)
		rule(ours, etherType(unix.ETH_P_ARP),
			[]expr.Any{
				field(expr.PayloadBaseNetworkHeader, 0, 6, reg0),
				&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{0, 1, 8, 0, 6, 4}},
				port, etherSource, arpSender,
			}, inSet(t.guests),
			[]expr.Any{port, field(expr.PayloadBaseNetworkHeader, 8, 6, reg4), arpSender}, inSet(t.guests), accept())
		if six {
			t.six.guard(func(parts ...[]expr.Any) { rule(append([][]expr.Any{ours}, parts...)...) })
		}
		rule(ours, drop())
	}
	return nil
}

// guestElement lets a port of the bridge send with one MAC and address.
func guestElement(port string, mac net.HardwareAddr, addr netip.Addr) nftables.SetElement {
	key := ifname(port)
	key = append(key, mac...)
	key = append(key, 0, 0)
	return nftables.SetElement{Key: append(key, addr.AsSlice()...)}
}

// portElement is a published port's element of the map any or one. addr is of
// the family of the host's address.
func (t *tables) portElement(p PortBinding, addr netip.Addr) (*nftables.Set, nftables.SetElement) {
	proto := byte(unix.IPPROTO_TCP)
	if p.Proto == "udp" {
		proto = unix.IPPROTO_UDP
	}
	any, one := t.any, t.one
	if p.HostIP.Is6() {
		any, one = t.six.any, t.six.one
	}
	set, key := any, []byte(nil)
	if !p.HostIP.IsUnspecified() {
		set, key = one, p.HostIP.AsSlice()
	}
	key = append(key, proto, 0, 0, 0, byte(p.HostPort>>8), byte(p.HostPort), 0, 0)
	val := append(addr.AsSlice(), byte(p.ContainerPort>>8), byte(p.ContainerPort), 0, 0)
	return set, nftables.SetElement{Key: key, Val: val}
}
