package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// crash leaves everything of a network but what dies with a process.
func crash(n *Network) {
	n.upMu.Lock()
	defer n.upMu.Unlock()
	n.held.releaseAll()
	_ = n.downLocked(false)
	n.closed = true
	n.unlock()
}

func TestRecover(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	other.serve("other", 9000)
	before := snapshot(t)
	dir := t.TempDir()
	n := openNetwork(t, Config{Dir: dir})
	requests := []Request{
		{ID: "aaaa", Names: []string{"a"}, Ports: []PortBinding{{ContainerPort: 80}, {HostPort: 8080, ContainerPort: 80, Proto: "udp"}}},
		{ID: "gone", Names: []string{"g"}, Ports: []PortBinding{{HostPort: 8082, ContainerPort: 80}}},
	}
	a := start(t, n, requests[0])
	a.serve("a", 80)
	g := start(t, n, requests[1])
	g.serve("g", 80)
	_, err := n.Attach(t.Context(), Request{ID: "lost"})
	check(t, err)
	port := a.Ports[0].HostPort
	published := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), port).String()
	other.want("tcp", published, "a 198.51.100.2")
	crash(n)
	n.ledger.release("lost") // as if it had died before it wrote down the lease
	check(t, n.ledger.save())

	// Without a daemon everything but names goes on.
	other.want("tcp", published, "a 198.51.100.2")
	a.want("udp", "198.51.100.2:9000", "other 198.51.100.1")

	n = openNetwork(t, Config{Dir: dir})
	requests[0].Names = []string{"renamed"}
	check(t, n.Recover(t.Context(), requests[:1]))
	other.want("tcp", published, "a 198.51.100.2")
	other.want("udp", "198.51.100.1:8080", "a 198.51.100.2")
	a.want("udp", "198.51.100.2:9000", "other 198.51.100.1")
	other.wantNone("tcp", "", "198.51.100.1:8082")
	if _, err := net.Listen("tcp", published); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("port %d is not reserved again: %v", port, err)
	}
	if got := a.query(t, "renamed", false); len(got) != 1 || got[0] != a.addr.String() {
		t.Errorf("name after Recover: %v", got)
	}
	if got := n.names.lookupFor("", "a"); len(got) != 0 {
		t.Errorf("an old name is known: %v", got)
	}
	links, err := linkList()
	check(t, err)
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, linkPrefix(n.cfg.Bridge)) && name != n.hostEnd("aaaa") {
			t.Errorf("link %s was left", name)
		}
	}

	// A crash, and no container survives it: nothing stays.
	crash(n)
	l, err := netlink.LinkByName(n.hostEnd("aaaa"))
	check(t, err)
	check(t, netlink.LinkDel(l))
	n = openNetwork(t, Config{Dir: dir})
	check(t, n.Recover(t.Context(), requests[:1]))
	after := snapshot(t)
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	a = start(t, n, requests[0])
	a.serve("a", 80)
	other.want("udp", "198.51.100.1:8080", "a 198.51.100.2")
}

// The state file is lost, the bridge is not.
func TestRecoverWithoutState(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	n := openNetwork(t, Config{Dir: dir, Subnet: netip.MustParsePrefix("10.99.0.0/24")})
	start(t, n, Request{ID: "aaaa"})
	crash(n)
	n.ledger.d.Leases = map[string]*lease{}
	check(t, os.WriteFile(n.ledger.path, []byte("{}"), 0o600))
	n = openNetwork(t, Config{Dir: dir})
	check(t, n.Recover(t.Context(), []Request{{ID: "aaaa"}}))
	if l, err := netlink.LinkByName(n.cfg.Bridge); !isGone(err) {
		t.Errorf("the bridge is there: %v", l)
	}
	b := start(t, n, Request{ID: "bbbb"})
	b.serve("b", 80)
	host(t).want("tcp", b.addr.String()+":80", "b "+b.Gateways[0])
}

// What is told of a network before its bridge is there holds when it is, and
// after restarts.
func TestDescribe(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	n := openNetwork(t, Config{Dir: dir})
	describe := func() Description {
		t.Helper()
		d, err := n.Describe()
		check(t, err)
		return d
	}
	first := describe()
	if first.Made.IsZero() || !first.Subnet.IsValid() || first.Gateway != gatewayOf(first.Subnet) {
		t.Fatalf("%+v", first)
	}
	a := start(t, n, Request{ID: "aaaa"})
	if d := describe(); d != first || !d.Subnet.Contains(a.addr) || a.Gateways[0] != d.Gateway.String() {
		t.Errorf("with %v: %+v, want %+v", a.addr, d, first)
	}
	crash(n)
	n = openNetwork(t, Config{Dir: dir})
	check(t, n.Recover(t.Context(), nil))
	if d := describe(); d != first {
		t.Errorf("after a restart: %+v, want %+v", d, first)
	}
}
