package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

func TestContainersReachEachOtherAndOut(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	other.serve("other", 9000)
	n := openNetwork(t, Config{})
	a := start(t, n, Request{ID: "aaaa", Names: []string{"a"}})
	b := start(t, n, Request{ID: "bbbb", Names: []string{"b"}})
	a.serve("a", 80)
	b.serve("b", 80)
	if a.MTU != 1400 {
		t.Errorf("MTU %d, the default route has 1400", a.MTU)
	}
	if want := macOf(a.addr).String(); a.MAC != want {
		t.Errorf("MAC %s, want %s", a.MAC, want)
	}
	for _, proto := range []string{"tcp", "udp"} {
		b.want(proto, a.addr.String()+":80", "a "+b.addr.String())
		a.want(proto, b.addr.String()+":80", "b "+a.addr.String())
		host(t).want(proto, a.addr.String()+":80", "a "+a.Gateways[0])
		// Outwards the host's address is seen.
		a.want(proto, "198.51.100.2:9000", "other 198.51.100.1")
	}

	// Nobody outside gets in, not even by a route.
	other.must(func() error {
		_, dst, _ := parseCIDR(a.Addresses[0])
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: []byte{198, 51, 100, 1}})
	})
	other.wantNone("tcp", "", a.addr.String()+":80")
	other.wantNone("udp", "", a.addr.String()+":80")
	other.wantNone("tcp", "", a.Gateways[0]+":53")
}

// A guest that has another's address or MAC is not heard.
func TestNoSpoofing(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	a := start(t, n, Request{ID: "aaaa"})
	b := start(t, n, Request{ID: "bbbb"})
	b.serve("b", 80)
	a.want("tcp", b.addr.String()+":80", "b "+a.addr.String())
	foreign := hostAt(n.ledger.subnet(), 77).String()
	a.must(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(foreign + "/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, addr)
	})
	a.wantNone("udp", foreign, b.addr.String()+":80")
	a.wantNone("tcp", foreign, b.addr.String()+":80")
	a.wantNone("udp", foreign, b.Gateways[0]+":53")
	a.want("udp", b.addr.String()+":80", "b "+a.addr.String())
	a.must(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(l, macOf(netip.MustParseAddr(foreign)))
	})
	a.wantNone("tcp", "", b.addr.String()+":80")

	// Nor does the host's loopback, which published ports open the bridge for, hear guests.
	host(t).serve("host", 7000)
	c := start(t, n, Request{ID: "cccc"})
	c.want("tcp", c.Gateways[0]+":7000", "host "+c.addr.String())
	c.must(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(lo); err != nil {
			return err
		}
		if err := writeSysctl("1", "ipv4", "conf", "eth0", "route_localnet"); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		_, dst, _ := parseCIDR("127.0.0.1/32")
		gw := netip.MustParseAddr(c.Gateways[0]).As4()
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: gw[:]})
	})
	c.wantNone("tcp", c.addr.String(), "127.0.0.1:7000")
	c.wantNone("udp", c.addr.String(), "127.0.0.1:7000")
}

func TestTwoEngines(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	other.serve("other", 9000)
	var nets [2]*Network
	var wg sync.WaitGroup
	var attached [2]Attachment
	for i := range nets {
		nets[i] = openNetwork(t, Config{Bridge: fmt.Sprintf("abtest%d", i)})
		wg.Go(func() {
			var err error
			if attached[i], err = nets[i].Attach(t.Context(), Request{ID: "same", Names: []string{"c"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	a, b := enterContainer(t, attached[0]), enterContainer(t, attached[1])
	if p, q := nets[0].ledger.subnet(), nets[1].ledger.subnet(); p.Overlaps(q) {
		t.Fatalf("both have %s and %s", p, q)
	}
	b.serve("b", 80)
	for _, c := range []*container{a, b} {
		c.want("tcp", "198.51.100.2:9000", "other 198.51.100.1")
	}
	a.wantNone("tcp", "", b.addr.String()+":80")

	// Closing one leaves the other what it needs.
	check(t, nets[0].Detach(t.Context(), "same"))
	check(t, nets[0].Close(t.Context()))
	b.want("tcp", "198.51.100.2:9000", "other 198.51.100.1")

	// A bridge has one engine, also while it is not there.
	refused := func(bridge, has string) {
		t.Helper()
		_, err := Open(t.Context(), Config{Dir: t.TempDir(), Bridge: bridge})
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), has) || !strings.Contains(err.Error(), "--bridge") {
			t.Errorf("using another engine's bridge: %v", err)
		}
	}
	refused("abtest1", "belongs to the engine")
	b.want("tcp", "198.51.100.2:9000", "other 198.51.100.1")
	n := openNetwork(t, Config{Bridge: "abtest0"})
	refused("abtest0", "another engine that runs")
	crash(n)
	openNetwork(t, Config{Bridge: "abtest0"})

	// What a dead engine left is another's still.
	crash(nets[1])
	refused("abtest1", "belongs to the engine")
	nets[1] = openNetwork(t, Config{Dir: nets[1].cfg.Dir, Bridge: "abtest1"})
	check(t, nets[1].Recover(t.Context(), []Request{{ID: "same", Names: []string{"c"}}}))
	b.want("tcp", "198.51.100.2:9000", "other 198.51.100.1")
}

func TestTap(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	taps := NewTaps(n.cfg.Bridge)
	name, err := taps.Make("vm", 524288)
	check(t, err)
	a, err := n.Attach(t.Context(), Request{ID: "vm", Port: name})
	check(t, err)
	l, err := netlink.LinkByName(a.NIC)
	check(t, err)
	tap, ok := l.(*netlink.Tuntap)
	if !ok {
		t.Fatalf("%s is a %s", a.NIC, l.Type())
	}
	if tap.Owner != 524288 || tap.NonPersist || tap.Mode != netlink.TUNTAP_MODE_TAP || tap.Attrs().MasterIndex != n.bridge.index {
		t.Errorf("tap: %+v", tap)
	}
	check(t, openTap(a.NIC))
	check(t, n.Detach(t.Context(), "vm"))
	n.ids.lock("vm")() // it is unplugged a moment later
	l, err = netlink.LinkByName(a.NIC)
	check(t, err)
	if l.Attrs().MasterIndex != 0 {
		t.Errorf("after Detach the tap is a port still: %+v", l.Attrs())
	}
	check(t, taps.Sweep([]string{name}))
	if !taps.Stands(name) {
		t.Error("a tap that is to stay was swept away")
	}
	check(t, taps.Sweep(nil))
	if taps.Stands(name) {
		t.Error("a tap that nobody has is there still")
	}
}

func TestAttachAtOnce(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	got := make([]Attachment, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			got[i], err = n.Attach(t.Context(), Request{ID: fmt.Sprint("container", i),
				Ports: []PortBinding{{ContainerPort: 80}, {ContainerPort: 53, Proto: "udp"}}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, a := range got {
		for _, s := range []string{a.NIC, a.MAC, strings.Join(a.Addresses, ","), fmt.Sprint(a.Ports)} {
			if seen[s] {
				t.Errorf("%s is given twice", s)
			}
			seen[s] = true
		}
	}
	a, b := enterContainer(t, got[0]), enterContainer(t, got[1])
	a.serve("a", 80)
	b.want("tcp", a.addr.String()+":80", "a "+b.addr.String())
	for i := range got {
		wg.Go(func() {
			if err := n.Detach(t.Context(), fmt.Sprint("container", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// snapshot says what there is on the host.
func snapshot(t *testing.T) []string {
	t.Helper()
	var all []string
	links, err := netlink.LinkList()
	check(t, err)
	for _, l := range links {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		check(t, err)
		all = append(all, fmt.Sprint(l.Attrs().Name, l.Type(), addrs))
		v, err := readSysctl("ipv4", "conf", l.Attrs().Name, "forwarding")
		check(t, err)
		all = append(all, l.Attrs().Name+" forwarding "+v)
	}
	for _, name := range []string{"all", "default", "lo", "up0"} {
		for _, key := range []string{"forwarding", "accept_ra"} {
			v, _ := readSysctl("ipv6", "conf", name, key)
			all = append(all, name+" IPv6 "+key+" "+v)
		}
	}
	c, err := nftables.New()
	check(t, err)
	for _, f := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyBridge, nftables.TableFamilyNetdev} {
		tables, err := c.ListTablesOfFamily(f)
		check(t, err)
		for _, tb := range tables {
			all = append(all, "table "+tb.Name)
		}
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	check(t, err)
	for _, r := range routes {
		all = append(all, r.String())
	}
	return all
}

func TestCloseLeavesNothing(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t)
	before := snapshot(t)
	dir := t.TempDir()
	n := openNetwork(t, Config{Dir: dir})
	start(t, n, Request{ID: "aaaa", Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80}}})
	_, err := n.Attach(t.Context(), Request{ID: "bbbb"})
	check(t, err)
	// A request that fails leaves nothing either.
	if _, err := n.Attach(t.Context(), Request{ID: "cccc", Ports: []PortBinding{{HostPort: 8081, ContainerPort: 1}, {HostPort: 8080, ContainerPort: 2}}}); !errors.Is(err, errdefs.ErrConflict) {
		t.Errorf("a taken port: %v", err)
	}
	check(t, n.Detach(t.Context(), "cccc"))
	d := start(t, n, Request{ID: "dddd", Ports: []PortBinding{{HostPort: 8081, ContainerPort: 1}}})
	for _, id := range []string{"aaaa", "bbbb", "dddd", "dddd", "never"} {
		check(t, n.Detach(t.Context(), id))
	}
	check(t, n.Close(t.Context()))
	check(t, n.Close(t.Context()))
	if after := snapshot(t); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if _, err := n.Attach(t.Context(), Request{ID: "x"}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 1 || es[0].Name() != "network.json" {
		t.Errorf("files: %v %v", es, err)
	}

	// The same container gets the same address of the next daemon.
	n = openNetwork(t, Config{Dir: dir})
	start(t, n, Request{ID: "eeee"})
	if again := start(t, n, Request{ID: "dddd"}); again.addr != d.addr {
		t.Errorf("address %s, was %s", again.addr, d.addr)
	}
}

// The rules come back when somebody has flushed them, and the bridge when
// somebody has removed it.
func TestRepair(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t).serve("other", 9000)
	n := openNetwork(t, Config{})
	a := start(t, n, Request{ID: "aaaa", Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80}}})
	a.serve("a", 80)
	c, err := nftables.New()
	check(t, err)
	c.FlushRuleset()
	check(t, c.Flush())
	b := start(t, n, Request{ID: "bbbb"})
	b.want("tcp", a.addr.String()+":80", "a "+b.addr.String())
	host(t).want("tcp", "127.0.0.1:8080", "a "+a.Gateways[0])
	c.FlushRuleset()
	check(t, c.Flush())
	check(t, n.Detach(context.Background(), "bbbb"))
	host(t).want("tcp", "127.0.0.1:8080", "a "+a.Gateways[0])

	l, err := netlink.LinkByName(n.cfg.Bridge)
	check(t, err)
	check(t, netlink.LinkDel(l))
	b = start(t, n, Request{ID: "bbbb"})
	b.want("tcp", a.addr.String()+":80", "a "+b.addr.String())
	b.want("tcp", "198.51.100.2:9000", "other 198.51.100.1")
}
