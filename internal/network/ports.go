package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host ports that are chosen for containers come from this range: below it
// and above are what people choose by hand and Linux's ephemeral ports' end.
const (
	firstPort = 32768
	lastPort  = 60999
)

// reservations holds the sockets that keep published host ports from others.
// Nothing is ever read from them: NAT takes what arrives before they see it.
type reservations struct {
	six bool // the network has IPv6

	mu   sync.Mutex
	next uint16
	held map[string][]io.Closer // by container
}

// hold reserves all ports of a container or none, and returns them with the
// host ports that were chosen. Those that leave no choice come first.
func (r *reservations) hold(id string, ports []PortBinding) ([]PortBinding, error) {
	ports, err := r.families(ports)
	if err != nil {
		return nil, err
	}
	bound := make([][]PortBinding, len(ports))
	var socks []io.Closer
	for _, choice := range []bool{false, true} {
		for i, p := range ports {
			if choice != (p.HostPort == 0 || p.LastHostPort != 0) {
				continue
			}
			b, s, err := r.bind(p)
			if err != nil {
				closeAll(socks)
				return nil, err
			}
			bound[i] = b
			socks = append(socks, s...)
		}
	}
	r.keep(id, socks)
	return slices.Concat(bound...), nil
}

// families says of what is published on all addresses of which families: of
// both where the network has both. It refuses what the network has not.
func (r *reservations) families(ports []PortBinding) ([]PortBinding, error) {
	list := make([]PortBinding, 0, len(ports))
	seen := map[PortBinding]bool{}
	for _, p := range ports {
		switch {
		case r.six:
		case !p.HostIP.IsValid(), p.HostIP == netip.IPv6Unspecified():
			p.HostIP = netip.IPv4Unspecified()
		case p.HostIP.Is6():
			return nil, fmt.Errorf("cannot publish a port on %s: the container has no IPv6 address; publish on an IPv4 address of this host, or use a network that is made with --ipv6: %w", p.HostIP, errdefs.ErrInvalidArgument)
		}
		if p.HostPort != 0 && seen[p] {
			continue
		}
		seen[p] = true
		list = append(list, p)
	}
	return list, nil
}

// hosts are the addresses of a binding, one of each family that it is for.
func (p PortBinding) hosts() []netip.Addr {
	if !p.HostIP.IsValid() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{p.HostIP}
}

// reclaim reserves what it can of a running container's ports, and says what
// it could not.
func (r *reservations) reclaim(id string, ports []PortBinding) []error {
	var socks []io.Closer
	var errs []error
	for _, p := range ports {
		_, s, err := r.bind(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		socks = append(socks, s...)
	}
	r.keep(id, socks)
	return errs
}

// keep makes sockets a container's.
func (r *reservations) keep(id string, socks []io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = map[string][]io.Closer{}
	}
	closeAll(r.held[id])
	r.held[id] = socks
}

func (r *reservations) release(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeAll(r.held[id])
	delete(r.held, id)
}

func (r *reservations) releaseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.held {
		closeAll(r.held[id])
		delete(r.held, id)
	}
}

func closeAll(socks []io.Closer) {
	for _, s := range socks {
		_ = s.Close()
	}
}

// bind reserves one host port on all addresses of a binding.
func (r *reservations) bind(p PortBinding) ([]PortBinding, []io.Closer, error) {
	switch {
	case p.LastHostPort != 0:
		return bindOneOf(p)
	case p.HostPort != 0:
		return bindPort(p, p.HostPort)
	}
	for range lastPort - firstPort + 1 {
		bound, socks, err := bindPort(p, r.candidate())
		if !errors.Is(err, errdefs.ErrConflict) {
			return bound, socks, err
		}
	}
	return nil, nil, fmt.Errorf("driver failed programming external connectivity: all ports from %d to %d of %s are allocated; publish with a host port of your choice: %w", firstPort, lastPort, p.hosts()[0], errdefs.ErrResourceExhausted)
}

// bindOneOf takes the first free port of a range.
func bindOneOf(p PortBinding) ([]PortBinding, []io.Closer, error) {
	for port := int(p.HostPort); port <= int(p.LastHostPort); port++ {
		bound, socks, err := bindPort(p, uint16(port))
		if !errors.Is(err, errdefs.ErrConflict) {
			return bound, socks, err
		}
	}
	return nil, nil, fmt.Errorf("driver failed programming external connectivity: Bind for %s:%d-%d failed: all of these ports are already allocated; stop what uses one or publish on others: %w", p.hosts()[0], p.HostPort, p.LastHostPort, errdefs.ErrConflict)
}

// bindPort reserves that host port on all addresses of a binding, or on none.
// errdefs.ErrConflict means that it is taken.
func bindPort(p PortBinding, port uint16) (bound []PortBinding, socks []io.Closer, err error) {
	p.HostPort, p.LastHostPort = port, 0
	for _, host := range p.hosts() {
		p.HostIP = host
		s, err := listen(p)
		if err != nil {
			closeAll(socks)
			return nil, nil, bindError(p, err)
		}
		bound, socks = append(bound, p), append(socks, s)
	}
	return bound, socks, nil
}

func (r *reservations) candidate() uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next < firstPort || r.next > lastPort {
		r.next = firstPort
	}
	r.next++
	return r.next - 1
}

// listen binds a host port. TCP listens too: two sockets may bind one port,
// as SO_REUSEADDR lets them, until one of them listens.
func listen(p PortBinding) (io.Closer, error) {
	addr, family := netip.AddrPortFrom(p.HostIP, p.HostPort).String(), "4"
	if p.HostIP.Is6() {
		family = "6"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if p.Proto == "udp" {
		c, err := lc.ListenPacket(context.Background(), "udp"+family, addr)
		if err != nil || !relayed(p) {
			return c, err
		}
		return newRelay(p, nil, c.(*net.UDPConn)), nil
	}
	l, err := lc.Listen(context.Background(), "tcp"+family, addr)
	if err != nil || !relayed(p) {
		return l, err
	}
	return newRelay(p, l, nil), nil
}

// bindError says it as docker does, whose clients look for these words.
func bindError(p PortBinding, err error) error {
	addr := netip.AddrPortFrom(p.HostIP, p.HostPort)
	prefix := fmt.Sprintf("driver failed programming external connectivity: Bind for %s failed: ", addr)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		kind := "-t"
		if p.Proto == "udp" {
			kind = "-u"
		}
		return fmt.Errorf("%sport is already allocated; stop what uses it (ss -lnp %s 'sport = :%d' and the list of containers tell) or publish on another host port: %w", prefix, kind, p.HostPort, errdefs.ErrConflict)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%scannot assign requested address; %s is not an address of this host: %w", prefix, p.HostIP, errdefs.ErrInvalidArgument)
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// forgetFlows removes what the kernel remembers of UDP flows to published
// ports: as long as packets keep coming, such a flow would go on to where it
// went before, be it nowhere or a container that is gone.
func forgetFlows(e lease) error {
	var ports udpFilter
	for _, p := range e.Ports {
		if p.Proto == "udp" {
			ports.host = append(ports.host, p.HostPort)
		}
	}
	if len(ports.host) == 0 {
		return nil
	}
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, ports)
	if e.Address6.IsValid() && err == nil {
		_, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET6, ports)
	}
	if err != nil {
		return fmt.Errorf("cannot end old UDP flows to published ports: %w", err)
	}
	return nil
}

type udpFilter struct{ host []uint16 }

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f udpFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	return flow.Forward.Protocol == unix.IPPROTO_UDP && slices.Contains(f.host, flow.Forward.DstPort)
}
