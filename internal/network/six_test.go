package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// otherHost6 is otherHost with IPv6: this is 2001:db8:5::1, the other
// 2001:db8:5::2 and this one's default route.
func otherHost6(t *testing.T) *space {
	t.Helper()
	s := otherHost(t)
	check(t, configure("up0", "2001:db8:5::1/64", "2001:db8:5::2"))
	s.must(func() error { return configure("eth0", "2001:db8:5::2/64", "") })
	return s
}

func six(cfg Config) Config {
	cfg.Subnet, cfg.Subnet6 = netip.MustParsePrefix("10.86.0.0/24"), netip.MustParsePrefix("fd86::/64")
	return cfg
}

func (c *container) addr6() string {
	return netip.MustParsePrefix(c.Addresses[1]).Addr().String()
}

func at(addr string, port int) string { return net.JoinHostPort(addr, fmt.Sprint(port)) }

func TestSix(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost6(t)
	other.serve("other", 9000)
	// A neighbour at an interface that has a route, and no address but the link's.
	fourth := newSpace(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up2"
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(fourth.h))}))
	up2, err := netlink.LinkByName("up2")
	check(t, err)
	check(t, netlink.LinkSetUp(up2))
	fourth.must(func() error { return configure("eth0", "2001:db8:7::2/64", "") })
	_, seven, _ := parseCIDR("2001:db8:7::/64")
	check(t, netlink.RouteAdd(&netlink.Route{Dst: seven, LinkIndex: up2.Attrs().Index}))
	fourth.must(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: linkLocalOf(up2.Attrs().HardwareAddr).AsSlice()})
	})
	before := snapshot(t)
	n := openNetwork(t, six(Config{}))
	a := start(t, n, Request{ID: "aaaa", Names: []string{"a"}})
	b := start(t, n, Request{ID: "bbbb", Names: []string{"b"}, Address6: netip.MustParseAddr("fd86::b")})
	a.serve("a", 80)
	b.serve("b", 80)
	if a.Addresses[1] != "fd86::2/64" || b.Addresses[1] != "fd86::b/64" || !slices.Equal(a.Gateways, []string{"10.86.0.1", "fd86::1"}) {
		t.Errorf("%+v, %+v", a.Attachment, b.Attachment)
	}
	for _, proto := range []string{"tcp", "udp"} {
		b.want(proto, "[fd86::2]:80", "a fd86::b")
		a.want(proto, "[fd86::b]:80", "b fd86::2")
		host(t).want(proto, "[fd86::2]:80", "a fd86::1")
		a.want(proto, "[2001:db8:5::2]:9000", "other 2001:db8:5::1")
		a.want(proto, "198.51.100.2:9000", "other 198.51.100.1")
	}

	// The link-local address works too, after the kernel has seen that it is free.
	mac, err := net.ParseMAC(a.MAC)
	check(t, err)
	for range 100 {
		if _, err = b.ask("tcp", at(linkLocalOf(mac).String()+"%eth0", 80)); err == nil {
			break
		}
	}
	check(t, err)

	answers := func(name string, kind dnsmessage.Type) (list []string) {
		for _, r := range a.send(t, newQuery(name, kind, 0), false).Answers {
			switch body := r.Body.(type) {
			case *dnsmessage.AResource:
				list = append(list, netip.AddrFrom4(body.A).String())
			case *dnsmessage.AAAAResource:
				list = append(list, netip.AddrFrom16(body.AAAA).String())
			case *dnsmessage.PTRResource:
				list = append(list, body.PTR.String())
			}
		}
		slices.Sort(list)
		return list
	}
	for _, q := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"b", dnsmessage.TypeAAAA, "[fd86::b]"},
		{"b", dnsmessage.TypeA, "[" + b.addr.String() + "]"},
		{"b", dnsmessage.TypeALL, "[" + b.addr.String() + " fd86::b]"},
		{"b.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.d.f.ip6.arpa", dnsmessage.TypePTR, "[b.]"},
		{"c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.d.f.ip6.arpa", dnsmessage.TypePTR, "[]"},
	} {
		if got := fmt.Sprint(answers(q.name, q.kind)); got != q.want {
			t.Errorf("%s %s: %s, want %s", q.kind, q.name, got, q.want)
		}
	}

	// Nobody outside gets in, not even by a route; and this host is no router.
	third := newSpace(t)
	attrs.Name = "up1"
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(third.h))}))
	check(t, configure("up1", "2001:db8:6::1/64", ""))
	third.must(func() error { return configure("eth0", "2001:db8:6::2/64", "2001:db8:6::1") })
	third.serve("third", 9000)
	host(t).want("tcp", "[2001:db8:6::2]:9000", "third 2001:db8:6::1")
	for _, dst := range []string{"fd86::/64", "2001:db8:6::/64", "2001:db8:7::/64"} {
		_, p, _ := parseCIDR(dst)
		other.must(func() error { return netlink.RouteAdd(&netlink.Route{Dst: p, Gw: net.ParseIP("2001:db8:5::1")}) })
	}
	a.want("tcp", "[2001:db8:6::2]:9000", "third 2001:db8:6::1")
	for list := []string(nil); !slices.Contains(list, "up1"); { // the kernel tells of it
		all, err := uplinksOf(nftables.TableFamilyIPv6)
		check(t, err)
		list = all[n.cfg.Bridge]
	}
	other.wantNone("tcp", "", "[fd86::2]:80")
	other.wantNone("udp", "", "[fd86::2]:80")
	other.wantNone("tcp", "", "[fd86::1]:53")
	other.wantNone("tcp", "", "[2001:db8:6::2]:9000")
	third.wantNone("tcp", "", "[2001:db8:5::2]:9000")
	fourth.wantNone("tcp", "", "[2001:db8:5::2]:9000")
	fourth.wantNone("udp", "", "[2001:db8:5::2]:9000")

	// Who is gone is forgotten when the next one comes.
	up1, err := netlink.LinkByName("up1")
	check(t, err)
	check(t, netlink.LinkDel(up1))
	attrs.Name = "up3"
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth3", PeerNamespace: netlink.NsFd(int(third.h))}))
	third.must(func() error { return configure("eth3", "2001:db8:8::2/64", "") })
	up(t, "up3")
	for list := []string{"up1"}; slices.Contains(list, "up1") || !slices.Contains(list, "up3"); {
		all, err := uplinksOf(nftables.TableFamilyIPv6)
		check(t, err)
		list = all[n.cfg.Bridge]
	}
	last, err := netlink.LinkByName("up3")
	check(t, err)
	check(t, netlink.LinkDel(last))
	check(t, n.Remove(t.Context()))
	if after := snapshot(t); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// frame6 is an ICMPv6 message in an Ethernet frame.
func frame6(etherSource net.HardwareAddr, source, target string, body []byte) []byte {
	f := slices.Concat([]byte{0x33, 0x33, 0, 0, 0, 1}, etherSource, []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255})
	src, dst := netip.MustParseAddr(source).As16(), netip.MustParseAddr(target).As16()
	f = slices.Concat(f, src[:], dst[:])
	sum := uint32(len(body)) + unix.IPPROTO_ICMPV6
	for _, b := range [][]byte{src[:], dst[:], body} {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	body = slices.Clone(body)
	body[2], body[3] = byte(^sum>>8), byte(^sum)
	return append(f, body...)
}

// What a port says of others is not heard: with their addresses, as a router,
// or of who has an address.
func TestSixNoSpoofing(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, six(Config{}))
	a := start(t, n, Request{ID: "aaaa"})
	b := start(t, n, Request{ID: "bbbb"})
	b.serve("b", 80)
	a.want("tcp", at(b.addr6(), 80), "b "+a.addr6())
	a.must(func() error { return configure("eth0", "fd86::77/64", "") })
	a.wantNone("udp", "fd86::77", at(b.addr6(), 80))
	a.wantNone("tcp", "fd86::77", at(b.addr6(), 80))
	if got, err := a.askFrom("udp", a.addr6(), at(b.addr6(), 80)); err != nil || got != "b "+a.addr6() {
		t.Errorf("from its own address: %q, %v", got, err)
	}

	// What gets to b of what a sends.
	mac, err := net.ParseMAC(a.MAC)
	check(t, err)
	own := linkLocalOf(mac).String()
	strange := net.HardwareAddr{2, 0x42, 9, 9, 9, 9}
	target := func(s string) []byte { a := netip.MustParseAddr(s).As16(); return a[:] }
	advertise := func(of string, options ...byte) []byte {
		return slices.Concat([]byte{neighborAdvertisement, 0, 0, 0, 0x20, 0, 0, 0}, target(of), options)
	}
	solicit := func(of string, options ...byte) []byte {
		return slices.Concat([]byte{neighborSolicitation, 0, 0, 0, 0, 0, 0, 0}, target(of), options)
	}
	var in, out int
	b.must(func() (err error) { in, err = packetSocket(); return err })
	defer func() { _ = unix.Close(in) }()
	a.must(func() (err error) { out, err = packetSocket(); return err })
	defer func() { _ = unix.Close(out) }()
	mark := frame6(mac, a.addr6(), "ff02::1", []byte{128, 0, 0, 0, 0xab, 0x0d, 0, 0})
	for _, c := range []struct {
		what string
		f    []byte
		pass bool
	}{
		{"a ping", frame6(mac, a.addr6(), "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), true},
		{"a ping of its link-local address", frame6(mac, own, "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), true},
		{"a ping with another's MAC", frame6(strange, a.addr6(), "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), false},
		{"a ping from another's address", frame6(mac, b.addr6(), "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), false},
		{"a ping from nowhere", frame6(mac, "::", "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), false},
		{"a ping from another link-local address", frame6(mac, "fe80::1", "ff02::1", []byte{128, 0, 0, 0, 1, 2, 3, 4}), false},
		{"a router's advertisement", frame6(mac, own, "ff02::1", []byte{routerAdvertisement, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}), false},
		{"a redirect", frame6(mac, own, "ff02::1", slices.Concat([]byte{redirect, 0, 0, 0, 0, 0, 0, 0}, target("fd86::9"), target("fd86::1"))), false},
		{"a querier's query", frame6(mac, own, "ff02::1", make26(listenerQuery)), false},
		{"an advertisement of itself", frame6(mac, a.addr6(), "ff02::1", advertise(a.addr6(), slices.Concat([]byte{2, 1}, mac)...)), true},
		{"an advertisement of itself without its MAC", frame6(mac, own, "ff02::1", advertise(a.addr6())), true},
		{"an advertisement of another", frame6(mac, a.addr6(), "ff02::1", advertise("fd86::1", slices.Concat([]byte{2, 1}, mac)...)), false},
		{"an advertisement of another without its MAC", frame6(mac, a.addr6(), "ff02::1", advertise("fd86::1")), false},
		{"an advertisement with another's MAC", frame6(mac, a.addr6(), "ff02::1", advertise(a.addr6(), slices.Concat([]byte{2, 1}, strange)...)), false},
		{"an advertisement with another's MAC behind something", frame6(mac, a.addr6(), "ff02::1", advertise(a.addr6(), slices.Concat([]byte{14, 1, 0, 0, 0, 0, 0, 0, 2, 1}, strange)...)), false},
		{"a solicitation", frame6(mac, a.addr6(), "ff02::1", solicit(b.addr6(), slices.Concat([]byte{1, 1}, mac)...)), true},
		{"a solicitation with another's MAC", frame6(mac, a.addr6(), "ff02::1", solicit(b.addr6(), slices.Concat([]byte{1, 1}, strange)...)), false},
		{"a solicitation of another", frame6(mac, "fd86::1", "ff02::1", solicit(b.addr6(), slices.Concat([]byte{1, 1}, mac)...)), false},
		{"the question whether its own address is free", frame6(mac, "::", "ff02::1", solicit(a.addr6(), 14, 1, 0, 0, 0, 0, 0, 0)), true},
		{"the question whether another's address is free", frame6(mac, "::", "ff02::1", solicit(b.addr6())), false},
	} {
		check(t, unix.Sendto(out, c.f, 0, a.link(t)))
		check(t, unix.Sendto(out, mark, 0, a.link(t))) // frames keep their order
		if got := arrives(t, in, c.f, mark); got != c.pass {
			t.Errorf("%s: %v, want %v", c.what, got, c.pass)
		}
	}
}

func make26(kind byte) []byte { return append([]byte{kind}, make([]byte, 23)...) }

func packetSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0xdd86) // ETH_P_IPV6 in the network's order
	if err != nil {
		return 0, err
	}
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())})
}

// link is where a packet socket of the container sends.
func (c *container) link(t *testing.T) *unix.SockaddrLinklayer {
	t.Helper()
	sa := &unix.SockaddrLinklayer{Protocol: 0xdd86}
	c.must(func() error {
		l, err := net.InterfaceByName("eth0")
		if err == nil {
			sa.Ifindex = l.Index
		}
		return err
	})
	return sa
}

// arrives says whether a frame comes in before the one that ends the wait.
func arrives(t *testing.T, fd int, frame, end []byte) bool {
	t.Helper()
	buf := make([]byte, 2000)
	found := false
	for {
		k, _, err := unix.Recvfrom(fd, buf, 0)
		check(t, err)
		switch string(buf[:k]) {
		case string(frame):
			found = true
		case string(end):
			return found
		}
	}
}

func TestSixPublishedPorts(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost6(t)
	here := host(t)
	dir := t.TempDir()
	n := openNetwork(t, six(Config{Dir: dir}))
	outer := netip.MustParseAddr("2001:db8:5::1")
	r := Request{ID: "aaaa", Ports: []PortBinding{
		{HostPort: 8080, ContainerPort: 80},
		{HostPort: 8080, ContainerPort: 80, Proto: "udp"},
		{HostPort: 8081, ContainerPort: 80, HostIP: netip.IPv6Loopback()},
		{HostPort: 8081, ContainerPort: 80, HostIP: netip.IPv6Loopback(), Proto: "udp"},
		{HostPort: 8082, ContainerPort: 80, HostIP: outer},
		{HostPort: 8083, ContainerPort: 80, HostIP: netip.IPv6Unspecified()},
		{HostPort: 8084, ContainerPort: 80, HostIP: netip.IPv4Unspecified()},
		{ContainerPort: 80},
	}}
	a := start(t, n, r)
	b := start(t, n, Request{ID: "bbbb"})
	a.serve("a", 80)
	var got []string
	for _, p := range a.Ports[:len(a.Ports)-2] {
		got = append(got, p.String())
	}
	if want := "0.0.0.0:8080->80/tcp [::]:8080->80/tcp 0.0.0.0:8080->80/udp [::]:8080->80/udp [::1]:8081->80/tcp [::1]:8081->80/udp " +
		"[2001:db8:5::1]:8082->80/tcp [::]:8083->80/tcp 0.0.0.0:8084->80/tcp"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	chosen := a.Ports[len(a.Ports)-2:]
	if chosen[0].HostPort != chosen[1].HostPort || chosen[0].HostIP == chosen[1].HostIP {
		t.Errorf("%v", chosen)
	}
	reached := func() {
		t.Helper()
		for _, proto := range []string{"tcp", "udp"} {
			here.want(proto, "127.0.0.1:8080", "a 10.86.0.1")
			here.want(proto, "[::1]:8080", "a fd86::1")
			here.want(proto, "[::1]:8081", "a fd86::1")
			here.want(proto, "[2001:db8:5::1]:8080", "a 2001:db8:5::1")
			other.want(proto, "[2001:db8:5::1]:8080", "a 2001:db8:5::2")
			other.want(proto, "198.51.100.1:8080", "a 198.51.100.2")
			b.want(proto, "[2001:db8:5::1]:8080", "a fd86::1")
			a.want(proto, "[2001:db8:5::1]:8080", "a fd86::1")
			other.wantNone(proto, "", "[2001:db8:5::1]:8081")
		}
		other.want("tcp", "[2001:db8:5::1]:8082", "a 2001:db8:5::2")
		other.want("tcp", "[2001:db8:5::1]:8083", "a 2001:db8:5::2")
		other.want("tcp", at("2001:db8:5::1", int(chosen[1].HostPort)), "a 2001:db8:5::2")
		other.want("tcp", "198.51.100.1:8084", "a 198.51.100.2")
		other.wantNone("tcp", "", "198.51.100.1:8083")
		other.wantNone("tcp", "", "[2001:db8:5::1]:8084")
		here.wantNone("tcp", "", "[::1]:8082")
	}
	reached()
	for _, taken := range []PortBinding{{HostPort: 8081, ContainerPort: 1}, {HostPort: 8083, ContainerPort: 1}, {HostPort: 8084, ContainerPort: 1}} {
		if _, err := n.Attach(t.Context(), Request{ID: "cccc", Ports: []PortBinding{taken}}); !errors.Is(err, errdefs.ErrConflict) {
			t.Errorf("%v is taken: %v", taken, err)
		}
	}

	// A daemon's death ends what it relays, no more.
	crash(n)
	other.want("tcp", "[2001:db8:5::1]:8080", "a 2001:db8:5::2")
	other.want("udp", "[2001:db8:5::1]:8080", "a 2001:db8:5::2")
	n = openNetwork(t, six(Config{Dir: dir}))
	check(t, n.Recover(t.Context(), []Request{{ID: "aaaa"}, {ID: "bbbb"}}))
	reached()

	// Others flush the rules, or take the bridge away.
	check(t, n.transact(func(c *nftables.Conn) error { c.DelTable(n.tables.six.ip); return nil }))
	start(t, n, Request{ID: "cccc", Ports: []PortBinding{{HostPort: 8090, ContainerPort: 80}}}).serve("c", 80)
	other.want("tcp", "[2001:db8:5::1]:8090", "c 2001:db8:5::2")
	reached()
	l, err := netlink.LinkByName(n.cfg.Bridge)
	check(t, err)
	check(t, netlink.LinkDel(l))
	start(t, n, Request{ID: "dddd"})
	reached()

	check(t, n.Detach(t.Context(), "aaaa"))
	here.wantNone("tcp", "", "[::1]:8081")
	other.wantNone("tcp", "", "[2001:db8:5::1]:8080")

	// Where there is no IPv6 it is not promised.
	four := openNetwork(t, Config{Bridge: "abtest4"})
	if _, err := four.Attach(t.Context(), Request{ID: "four", Ports: []PortBinding{{HostPort: 8081, ContainerPort: 1, HostIP: netip.IPv6Loopback()}}}); !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "--ipv6") {
		t.Errorf("without IPv6: %v", err)
	}
}

// Networks hear nothing of each other by IPv6 either, and an internal one of
// nobody else.
func TestSixWalls(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost6(t)
	other.serve("other", 9000)
	host(t).serve("host", 7000)
	var places []*container
	for i, internal := range []bool{false, false, true} {
		id, err := NewID("abtest0", nil)
		check(t, err)
		n := openNetwork(t, Config{Bridge: BridgeName("abtest0", id), Default: "abtest0", Internal: internal,
			Subnet: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", 87+i)), Subnet6: netip.MustParsePrefix(fmt.Sprintf("fd8%d::/64", 7+i))})
		c := start(t, n, Request{ID: "cccc", Ports: []PortBinding{{HostPort: uint16(8080 + i), ContainerPort: 80}}})
		c.serve("c", 80)
		d := start(t, n, Request{ID: "dddd"})
		d.want("tcp", at(c.addr6(), 80), "c "+d.addr6())
		host(t).want("tcp", at(c.addr6(), 80), "c "+n.cfg.gateway6().String())
		places = append(places, c)
		if internal != (len(c.Gateways) == 0) || internal != (len(c.Ports) == 0) {
			t.Errorf("internal %v: %+v", internal, c.Attachment)
		}
		if internal {
			c.must(func() error {
				l, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: n.cfg.gateway6().AsSlice()})
			})
			c.wantNone("tcp", "", "[2001:db8:5::2]:9000")
			c.wantNone("udp", "", "[2001:db8:5::2]:9000")
			c.wantNone("tcp", "", "[2001:db8:5::1]:7000")
		} else {
			c.want("tcp", "[2001:db8:5::2]:9000", "other 2001:db8:5::1")
		}
	}
	for i, c := range places {
		for j, d := range places {
			if i != j {
				d.wantNone("tcp", "", at(c.addr6(), 80))
				d.wantNone("udp", "", at(c.addr6(), 80))
			}
			if i != j && i < 2 {
				d.wantNone("tcp", "", at("2001:db8:5::1", 8080+i))
			}
		}
	}
	other.wantNone("tcp", "", "[2001:db8:5::1]:8082")
}

// A host that gets its route from a router keeps it when forwarding starts and
// when it ends; one that forwards already is left alone.
func TestSixForwarding(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost6(t)
	conf := func(name, key string) string {
		v, err := readSysctl("ipv6", "conf", name, key)
		check(t, err)
		return v
	}
	state := func() string {
		return fmt.Sprint(conf("all", "forwarding"), conf("default", "forwarding"), conf("up0", "forwarding"), conf("up0", "accept_ra"))
	}
	dir := t.TempDir()
	n := openNetwork(t, six(Config{Dir: dir}))
	if got := state(); got != "0 0 0 1" && got != "0001" {
		t.Fatalf("before: %s", got)
	}
	start(t, n, Request{ID: "aaaa"})
	if got := state(); got != "1001" && got != "1 0 0 1" {
		t.Errorf("with a container: %s", got)
	}
	m := openNetwork(t, Config{Bridge: "abtest1", Subnet: netip.MustParsePrefix("10.88.0.0/24"), Subnet6: netip.MustParsePrefix("fd88::/64")})
	start(t, m, Request{ID: "bbbb"})
	crash(n)
	n = openNetwork(t, six(Config{Dir: dir}))
	check(t, n.Recover(t.Context(), []Request{{ID: "aaaa"}}))
	check(t, n.Remove(t.Context()))
	if got := conf("all", "forwarding"); got != "1" {
		t.Errorf("another network needs it: %s", got)
	}
	check(t, m.Remove(t.Context()))
	if got := state(); got != "0001" && got != "0 0 0 1" {
		t.Errorf("after: %s", got)
	}

	check(t, writeSysctl("1", "ipv6", "conf", "all", "forwarding"))
	n = openNetwork(t, six(Config{}))
	start(t, n, Request{ID: "aaaa"})
	check(t, n.Remove(t.Context()))
	if got := conf("all", "forwarding") + conf("up0", "forwarding"); got != "11" {
		t.Errorf("a router: %s", got)
	}
}

func TestSixAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")
	open := func() *ledger {
		l, err := openLedger(path)
		check(t, err)
		l.subnet6, l.gateway6 = netip.MustParsePrefix("fd00::/64"), netip.MustParseAddr("fd00::1")
		l.pool6 = netip.MustParsePrefix("fd00::8/126")
		return l
	}
	l := open()
	l.setSubnet(netip.MustParsePrefix("10.0.0.0/24"))
	take := func(id, want string) string {
		t.Helper()
		r := Request{ID: id}
		if want != "" {
			r.Address6 = netip.MustParseAddr(want)
		}
		e, err := l.take(r)
		check(t, err)
		return e.Address6.String()
	}
	var got []string
	for i := range 4 {
		got = append(got, take(fmt.Sprint(i), ""))
	}
	if want := []string{"fd00::8", "fd00::9", "fd00::a", "fd00::b"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := l.take(Request{ID: "more"}); !errors.Is(err, errdefs.ErrResourceExhausted) {
		t.Errorf("a full range: %v", err)
	}
	if a := take("asked", "fd00::77"); a != "fd00::77" {
		t.Errorf("outside of the range, as asked: %s", a)
	}
	l.release("2")
	l.release("0")
	check(t, l.save())
	l = open()
	for _, bad := range []string{"fd00::", "fd00::1", "fd01::5", "10.0.0.9", "fd00::9"} {
		if a := take("2", bad); a != "fd00::a" {
			t.Errorf("asked for %s again: %s", bad, a)
		}
		l.release("2")
	}
	if a := take("new", ""); a != "fd00::8" { // remembered for 0, the oldest
		t.Errorf("the last one: %s", a)
	}
	if _, ok := parseReverse6(strings.Repeat("0.", 31) + "0.ip6.arpa"); !ok {
		t.Error("not read")
	}
	for _, bad := range []string{"", ".ip6.arpa", strings.Repeat("0.", 31) + "g.ip6.arpa", strings.Repeat("00", 31) + "0.ip6.arpa", strings.Repeat("0.", 30) + "0.ip6.arpa"} {
		if a, ok := parseReverse6(bad); ok {
			t.Errorf("%q: %s", bad, a)
		}
	}
	if _, err := exec.LookPath("ip"); err == nil {
		p, clash, err := FreeSubnet6(netip.Prefix{}, nil)
		if err != nil || clash.IsValid() || p.Bits() != 64 || p != p.Masked() || !netip.MustParsePrefix("fd00::/8").Contains(p.Addr()) {
			t.Errorf("%v, %v, %v", p, clash, err)
		}
	}
	if _, clash, err := FreeSubnet6(netip.MustParsePrefix("fd07::/48"), []netip.Prefix{netip.MustParsePrefix("fd07:0:0:3::/64")}); err != nil || clash.String() != "fd07:0:0:3::/64" {
		t.Errorf("%v, %v", clash, err)
	}
}
