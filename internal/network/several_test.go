package network

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

// several opens an engine's default network and two that users have defined.
func several(t *testing.T) (def, one, two *Network) {
	t.Helper()
	def = openNetwork(t, Config{})
	var ids []string
	open := func(subnet string) *Network {
		id, err := NewID(def.cfg.Bridge, ids)
		check(t, err)
		ids = append(ids, id)
		return openNetwork(t, Config{Bridge: BridgeName(def.cfg.Bridge, id), Default: def.cfg.Bridge, Subnet: netip.MustParsePrefix(subnet)})
	}
	return def, open("10.81.0.0/24"), open("10.82.0.0/24")
}

// Networks of one engine hear nothing of each other: not by addresses, not by
// published ports, not by names. Inside each all of that works.
func TestSeveral(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	other.serve("other", 9000)
	before := snapshot(t)
	def, one, two := several(t)
	places := map[string]*container{}
	var port uint16 = 8080
	for id, n := range map[string]*Network{"dddd": def, "aaaa": one, "bbbb": two} {
		c := start(t, n, Request{ID: id, Names: []string{"web"}, Ports: []PortBinding{{HostPort: port, ContainerPort: 80}}})
		c.serve(id, 80)
		places[id] = c
		port++
	}
	for id, c := range places {
		public := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), c.Ports[0].HostPort).String()
		other.want("tcp", public, id+" 198.51.100.2")
		c.want("udp", "198.51.100.2:9000", "other 198.51.100.1")
		if got := c.query(t, "web", false); len(got) != 1 || got[0] != c.addr.String() {
			t.Errorf("%s finds web at %v, want %v", id, got, c.addr)
		}
		for from, stranger := range places {
			if from == id {
				stranger.want("tcp", public, id+" "+c.Gateways[0])
				continue
			}
			stranger.wantNone("tcp", "", c.addr.String()+":80")
			stranger.wantNone("udp", "", c.addr.String()+":80")
			stranger.wantNone("tcp", "", public)
			stranger.wantNone("udp", "", c.Gateways[0]+":53")
		}
	}
	// The default network's sweep leaves the others' bridges.
	check(t, def.sweep())
	places["aaaa"].want("udp", "198.51.100.2:9000", "other 198.51.100.1")
	for _, n := range []*Network{one, two, def} {
		check(t, n.Remove(t.Context()))
		if _, err := os.Stat(n.cfg.Dir); !os.IsNotExist(err) {
			t.Errorf("the state of bridge %s is left: %v", n.cfg.Bridge, err)
		}
	}
	if after := snapshot(t); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestInternal(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	other.serve("other", 9000)
	n := openNetwork(t, Config{
		Subnet: netip.MustParsePrefix("10.83.0.0/24"), Gateway: netip.MustParseAddr("10.83.0.9"),
		Range: netip.MustParsePrefix("10.83.0.8/30"), Internal: true,
	})
	a := start(t, n, Request{ID: "aaaa", Names: []string{"a"}, Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80}}})
	b := start(t, n, Request{ID: "bbbb"})
	a.serve("a", 80)
	if a.addr.String() != "10.83.0.8" || b.addr.String() != "10.83.0.10" || len(a.Gateways) != 0 || len(a.Ports) != 0 || a.DNS[0] != "10.83.0.9" {
		t.Errorf("%+v, %+v", a.Attachment, b.Attachment)
	}
	b.want("tcp", a.addr.String()+":80", "a "+b.addr.String())
	host(t).want("tcp", a.addr.String()+":80", "a 10.83.0.9")
	if got := b.query(t, "a", false); len(got) != 1 || got[0] != a.addr.String() {
		t.Errorf("a is at %v", got)
	}
	// A container that makes itself a route gets no further.
	b.must(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: n.cfg.Gateway.AsSlice()})
	})
	host(t).serve("host", 7000)
	b.wantNone("tcp", "", "198.51.100.2:9000")
	b.wantNone("udp", "", "198.51.100.2:9000")
	b.wantNone("tcp", "", "198.51.100.1:7000")
	other.wantNone("tcp", "", "198.51.100.1:8080")

	if _, err := n.Attach(t.Context(), Request{ID: "cccc"}); err != nil {
		t.Error(err)
	}
	if _, err := n.Attach(t.Context(), Request{ID: "full"}); !errors.Is(err, errdefs.ErrResourceExhausted) {
		t.Errorf("a full range: %v", err)
	}
	if p, err := n.Attach(t.Context(), Request{ID: "asked", Address: netip.MustParseAddr("10.83.0.77")}); err != nil || p.Addresses[0] != "10.83.0.77/24" {
		t.Errorf("outside of the range, as asked: %+v, %v", p, err)
	}
}
