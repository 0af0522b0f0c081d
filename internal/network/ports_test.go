package network

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func parseCIDR(s string) (net.IP, *net.IPNet, error) { return net.ParseCIDR(s) }

func openTap(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
}

func TestPublishedPorts(t *testing.T) {
	if isolate(t) {
		return
	}
	other := otherHost(t)
	here := host(t)
	n := openNetwork(t, Config{})
	loop, outer := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("198.51.100.1")
	a := start(t, n, Request{ID: "aaaa", Ports: []PortBinding{
		{HostPort: 8080, ContainerPort: 80},
		{HostPort: 8080, ContainerPort: 80, Proto: "udp"},
		{HostPort: 8081, ContainerPort: 80, HostIP: loop},
		{HostPort: 8082, ContainerPort: 80, HostIP: outer},
		{HostPort: 8082, ContainerPort: 80, HostIP: outer, Proto: "udp"},
		{ContainerPort: 80},
	}})
	b := start(t, n, Request{ID: "bbbb"})
	a.serve("a", 80)
	gw := a.Gateways[0]
	if p := a.Ports[5].HostPort; p < firstPort || p > lastPort {
		t.Errorf("port %d was chosen", p)
	}
	for _, proto := range []string{"tcp", "udp"} {
		here.want(proto, "127.0.0.1:8080", "a "+gw)
		here.want(proto, "198.51.100.1:8080", "a 198.51.100.1")
		here.want(proto, gw+":8080", "a "+gw)
		here.want(proto, "198.51.100.1:8082", "a 198.51.100.1")
		other.want(proto, "198.51.100.1:8080", "a 198.51.100.2") // the client's address is seen
		other.want(proto, "198.51.100.1:8082", "a 198.51.100.2")
		// Through the host's address, from another container and from the same.
		b.want(proto, "198.51.100.1:8080", "a "+gw)
		b.want(proto, gw+":8080", "a "+gw)
		a.want(proto, "198.51.100.1:8080", "a "+gw)
		other.wantNone(proto, "", "198.51.100.1:8081")
	}
	here.want("tcp", "127.0.0.1:8081", "a "+gw)
	here.want("tcp", netip.AddrPortFrom(outer, a.Ports[5].HostPort).String(), "a 198.51.100.1")
	here.wantNone("tcp", "", "127.0.0.1:8082")

	// A neighbour that sends to the host's loopback address gets nowhere.
	other.must(func() error {
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
		_, dst, _ := parseCIDR("127.0.0.1/32")
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: []byte{198, 51, 100, 1}})
	})
	other.wantNone("tcp", "198.51.100.2", "127.0.0.1:8081")
	other.wantNone("udp", "198.51.100.2", "127.0.0.1:8080")

	// A UDP client that goes on sending from one port follows a published port
	// to the container that has it next.
	var c net.Conn
	other.must(func() (err error) {
		c, err = net.Dial("udp", "198.51.100.1:8080")
		return err
	})
	defer func() { _ = c.Close() }()
	answer := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		_, err := c.Write([]byte("?"))
		check(t, err)
		check(t, c.SetDeadline(deadline()))
		k, err := c.Read(buf)
		if err != nil || string(buf[:k]) != want {
			t.Errorf("got %q, %v; want %q", buf[:k], err, want)
		}
	}
	answer("a 198.51.100.2")
	check(t, n.Detach(t.Context(), "aaaa"))
	other.wantNone("tcp", "", "198.51.100.1:8080")
	d := start(t, n, Request{ID: "dddd", Address: hostAt(n.ledger.subnet(), 99), Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80, Proto: "udp"}}})
	if d.addr != hostAt(n.ledger.subnet(), 99) {
		t.Errorf("address %s is not the one asked for", d.addr)
	}
	d.serve("d", 80)
	answer("d 198.51.100.2")
}

// Of a range the first free port is taken, after the ports that leave no
// choice; a range that is all taken is refused.
func TestPortRange(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	host(t).serve("host", 8001)
	a := start(t, n, Request{ID: "aaaa", Ports: []PortBinding{
		{HostPort: 8000, LastHostPort: 8003, ContainerPort: 80},
		{HostPort: 8000, LastHostPort: 8003, ContainerPort: 80, Proto: "udp"},
		{HostPort: 8000, ContainerPort: 81},
	}})
	a.serve("a", 80)
	var got []uint16
	for _, p := range a.Ports {
		got = append(got, p.HostPort)
		if p.LastHostPort != 0 {
			t.Errorf("%+v is no one port", p)
		}
	}
	if want := []uint16{8002, 8000, 8000}; !slices.Equal(got, want) {
		t.Errorf("the ports are %v, want %v", got, want)
	}
	host(t).want("tcp", "127.0.0.1:8002", "a "+a.Gateways[0])
	host(t).want("udp", "127.0.0.1:8000", "a "+a.Gateways[0])
	r := Request{Ports: []PortBinding{{HostPort: 8000, LastHostPort: 8003, ContainerPort: 80}}}
	r.ID = "bbbb"
	if b := start(t, n, r); b.Ports[0].HostPort != 8003 {
		t.Errorf("the second container has %v", b.Ports)
	}
	r.ID = "cccc"
	if _, err := n.Attach(t.Context(), r); !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "Bind for 0.0.0.0:8000-8003 failed: all of these ports are already allocated") {
		t.Errorf("a range without a free port: %v", err)
	}
}

func TestTakenPort(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	host(t).serve("host", 8080)
	for _, r := range []Request{
		{ID: "aaaa", Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80}}},
		{ID: "aaaa", Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80, Proto: "udp"}}},
		{ID: "aaaa", Ports: []PortBinding{{HostPort: 8080, ContainerPort: 80, HostIP: netip.MustParseAddr("127.0.0.1")}}},
		{ID: "aaaa", Ports: []PortBinding{{HostPort: 90, ContainerPort: 80}, {HostPort: 90, ContainerPort: 81}}},
	} {
		_, err := n.Attach(t.Context(), r)
		if !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "failed: port is already allocated") ||
			!strings.Contains(err.Error(), "driver failed programming external connectivity") {
			t.Errorf("%v: %v", r.Ports, err)
		}
		if len(n.ledger.all()) != 0 {
			t.Errorf("%v: a failed Attach left a lease", r.Ports)
		}
	}
	start(t, n, Request{ID: "aaaa", Ports: []PortBinding{{HostPort: 81, ContainerPort: 80}}})
	_, err := n.Attach(t.Context(), Request{ID: "bbbb", Ports: []PortBinding{{HostPort: 81, ContainerPort: 80}}})
	if !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "Bind for 0.0.0.0:81 failed") {
		t.Errorf("another container's port: %v", err)
	}
	_, err = n.Attach(t.Context(), Request{ID: "bbbb", Ports: []PortBinding{{HostPort: 82, ContainerPort: 80, HostIP: netip.MustParseAddr("203.0.113.9")}}})
	if !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("a foreign address: %v", err)
	}
	// The host's processes see that the port is taken.
	var lerr error
	host(t).do(func() { _, lerr = net.Listen("tcp", "127.0.0.1:81") })
	if !errors.Is(lerr, unix.EADDRINUSE) {
		t.Errorf("a host process took a published port: %v", lerr)
	}
}
