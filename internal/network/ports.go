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
	mu   sync.Mutex
	next uint16
	held map[string][]io.Closer // by container
}

// hold reserves all ports of a container or none, and returns them with the
// host ports that were chosen. Those that leave no choice come first.
func (r *reservations) hold(id string, ports []PortBinding) ([]PortBinding, error) {
	bound := slices.Clone(ports)
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
			socks = append(socks, s)
		}
	}
	r.keep(id, socks)
	return bound, nil
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
		socks = append(socks, s)
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

func (r *reservations) bind(p PortBinding) (PortBinding, io.Closer, error) {
	switch {
	case p.LastHostPort != 0:
		return bindOneOf(p)
	case p.HostPort != 0:
		s, err := listen(p)
		if err != nil {
			return p, nil, bindError(p, err)
		}
		return p, s, nil
	}
	for range lastPort - firstPort + 1 {
		p.HostPort = r.candidate()
		s, err := listen(p)
		if err == nil {
			return p, s, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return p, nil, bindError(p, err)
		}
	}
	return p, nil, fmt.Errorf("driver failed programming external connectivity: all ports from %d to %d of %s are allocated; publish with a host port of your choice: %w", firstPort, lastPort, p.HostIP, errdefs.ErrResourceExhausted)
}

// bindOneOf takes the first free port of a range.
func bindOneOf(p PortBinding) (PortBinding, io.Closer, error) {
	one := p
	for port := int(p.HostPort); port <= int(p.LastHostPort); port++ {
		one.HostPort, one.LastHostPort = uint16(port), 0
		s, err := listen(one)
		if err == nil {
			return one, s, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return p, nil, bindError(one, err)
		}
	}
	return p, nil, fmt.Errorf("driver failed programming external connectivity: Bind for %s:%d-%d failed: all of these ports are already allocated; stop what uses one or publish on others: %w", p.HostIP, p.HostPort, p.LastHostPort, errdefs.ErrConflict)
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
	addr := netip.AddrPortFrom(p.HostIP, p.HostPort).String()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if p.Proto == "udp" {
		return lc.ListenPacket(context.Background(), "udp4", addr)
	}
	return lc.Listen(context.Background(), "tcp4", addr)
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
