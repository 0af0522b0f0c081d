package network

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// guestDevice makes what a guest's only network device and its tap are to each
// other: a pair, whose end here is returned.
func guestDevice(t *testing.T, s *space) string {
	t.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = "trunk0"
	v := netlink.NewVeth(a)
	v.PeerName = "eth0"
	v.PeerNamespace = netlink.NsFd(int(s.h))
	check(t, netlink.LinkAdd(v))
	up(t, a.Name)
	return a.Name
}

// A guest's one device is a port of one network, and carries interfaces in
// others, from which nothing gets anywhere else.
func TestTrunk(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t)
	before := snapshot(t)
	def := openNetwork(t, Config{Dir: t.TempDir()})
	ids := []string{}
	var one, two *Network
	open := func(subnet string) *Network {
		id, err := NewID(def.cfg.Bridge, ids)
		check(t, err)
		ids = append(ids, id)
		return openNetwork(t, Config{Dir: t.TempDir(), Bridge: BridgeName(def.cfg.Bridge, id), Default: def.cfg.Bridge, Subnet: netip.MustParsePrefix(subnet),
			Beyond: func(id, name string) []netip.Addr {
				if id != "guest" {
					t.Errorf("asked what %q calls %s", id, name)
				}
				return two.Lookup(id, name)
			}})
	}
	one, two = open("10.81.0.0/24"), open("10.82.0.0/24")
	s := newSpace(t)
	tap := guestDevice(t, s)
	a, err := one.Attach(t.Context(), Request{ID: "guest", Names: []string{"g"}, Port: tap})
	check(t, err)
	b, err := two.Attach(t.Context(), Request{ID: "guest", Names: []string{"g"}, Trunk: tap, Links: map[string]string{"store": "bbbb"}})
	check(t, err)
	if a.NIC != tap || b.NIC != "" {
		t.Errorf("it got %q and %q, want %q and none", a.NIC, b.NIC, tap)
	}
	s.must(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		mac, _ := net.ParseMAC(a.MAC)
		if err := netlink.LinkSetHardwareAddr(l, mac); err != nil {
			return err
		}
		if err := configure("eth0", a.Addresses[0], a.Gateways[0]); err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "eth1", l.Attrs().Index
		attrs.HardwareAddr, _ = net.ParseMAC(b.MAC)
		if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}); err != nil {
			return err
		}
		return configure("eth1", b.Addresses[0], "")
	})
	guest := &container{space: s, Attachment: a, addr: netip.MustParsePrefix(a.Addresses[0]).Addr()}
	guest.serve("guest", 80)
	inOne := start(t, one, Request{ID: "aaaa", Names: []string{"one"}})
	inOne.serve("one", 80)
	inTwo := start(t, two, Request{ID: "bbbb", Names: []string{"two"}})
	inTwo.serve("two", 80)
	inTwo.serve("two", 81)
	addrB := netip.MustParsePrefix(b.Addresses[0]).Addr()

	guest.want("tcp", netip.AddrPortFrom(inOne.addr, 80).String(), "one "+guest.addr.String())
	guest.want("tcp", netip.AddrPortFrom(inTwo.addr, 80).String(), "two "+addrB.String())
	inOne.want("tcp", netip.AddrPortFrom(guest.addr, 80).String(), "guest "+inOne.addr.String())
	inTwo.want("udp", netip.AddrPortFrom(addrB, 80).String(), "guest "+inTwo.addr.String())
	inOne.wantNone("tcp", "", netip.AddrPortFrom(inTwo.addr, 80).String())
	for _, name := range []string{"two", "store", "bbbb"} {
		if got := guest.query(t, name, false); len(got) != 1 || got[0] != inTwo.addr.String() {
			t.Errorf("the guest finds %s at %v", name, got)
		}
	}
	if got := two.Lookup("aaaa", "store"); len(got) != 0 {
		t.Errorf("others find the guest's link at %v", got)
	}
	// Its port and MAC are that network's alone.
	s.must(func() error {
		l, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 82, 0, 77), Mask: net.CIDRMask(24, 32)}})
	})
	guest.wantNone("tcp", "10.82.0.77", netip.AddrPortFrom(inTwo.addr, 81).String())

	// Ports are those of the network that answers take their way through.
	bound, err := one.Publish(t.Context(), "guest", []PortBinding{{HostPort: 8080, ContainerPort: 80}})
	check(t, err)
	if len(bound) != 1 || bound[0].HostPort != 8080 {
		t.Errorf("published: %v", bound)
	}
	host(t).want("tcp", "198.51.100.1:8080", "guest 198.51.100.1")
	_, err = one.Publish(t.Context(), "guest", nil)
	check(t, err)
	host(t).wantNone("tcp", "", "198.51.100.1:8080")

	// Out of the first network, the device carries on, and leads nowhere else.
	taps := NewTaps(def.cfg.Bridge)
	check(t, taps.Open(tap))
	check(t, one.Detach(t.Context(), "guest"))
	one.ids.lock("guest")()
	guest.want("tcp", netip.AddrPortFrom(inTwo.addr, 80).String(), "two "+addrB.String())
	host(t).serve("host", 9001)
	guest.wantNone("tcp", "", "198.51.100.1:9001")
	guest.wantNone("tcp", "", netip.AddrPortFrom(inOne.addr, 80).String())

	check(t, two.Detach(t.Context(), "guest"))
	two.ids.lock("guest")()
	guest.wantNone("tcp", "", netip.AddrPortFrom(inTwo.addr, 80).String())
	check(t, taps.Remove(tap))
	for _, n := range []*Network{one, two} {
		check(t, n.Detach(t.Context(), "aaaa"))
		check(t, n.Detach(t.Context(), "bbbb"))
		check(t, n.Close(t.Context()))
	}
	if after := snapshot(t); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}
