package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Bounds of what the resolver does at once; what is over them is dropped, as
// DNS clients expect of a server with too much to do.
const (
	maxQueries     = 512 // forwarded ones, of all containers
	maxQueriesEach = 96  // of one
	maxStreams     = 256 // TCP connections
	maxStreamsEach = 16
	streamIdle     = 10 * time.Second
)

// resolver answers on the bridge's own address. It listens on port 53, or on
// another one that NAT leads port 53 to when the host has a server of its own
// on every address.
type resolver struct {
	device string
	names  *names
	asks   bool // others, for what it does not know
	log    *slog.Logger

	// Set by start.
	udp     *net.UDPConn
	tcp     net.Listener
	fwd     *forwarder
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	queries *limiter
	streams *limiter
}

func newResolver(device string, n *names, asks bool, log *slog.Logger) *resolver {
	return &resolver{device: device, names: n, asks: asks, log: log}
}

// start listens. The address must be the bridge's.
func (r *resolver) start(gateway netip.Addr, subnet netip.Prefix) error {
	udp, tcp, err := r.listen(netip.AddrPortFrom(gateway, 53))
	if errors.Is(err, unix.EADDRINUSE) {
		r.log.Info("port 53 of the bridge's address is taken by a server of the host; containers' queries are led past it", "address", gateway)
		udp, tcp, err = r.listen(netip.AddrPortFrom(gateway, 0))
	}
	if err != nil {
		return fmt.Errorf("cannot start the resolver on %s: %w", gateway, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.udp, r.tcp, r.cancel = udp, tcp, cancel
	r.fwd = newForwarder(gateway)
	r.queries = newLimiter(maxQueries, maxQueriesEach)
	r.streams = newLimiter(maxStreams, maxStreamsEach)
	r.wg.Go(func() { r.serveUDP(ctx, udp, subnet) })
	r.wg.Go(func() { r.serveTCP(ctx, tcp, subnet) })
	return nil
}

func (r *resolver) listen(addr netip.AddrPort) (*net.UDPConn, net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), r.device) })
		return errors.Join(cerr, err)
	}}
	lc.SetMultipathTCP(false)
	for range 16 { // a port that is free for UDP may be taken for TCP
		pc, err := lc.ListenPacket(context.Background(), "udp4", addr.String())
		if err != nil {
			return nil, nil, err
		}
		udp := pc.(*net.UDPConn)
		port := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		tcp, err := lc.Listen(context.Background(), "tcp4", netip.AddrPortFrom(addr.Addr(), port).String())
		if err == nil {
			return udp, tcp, nil
		}
		_ = udp.Close()
		if addr.Port() != 0 || !errors.Is(err, unix.EADDRINUSE) {
			return nil, nil, err
		}
	}
	return nil, nil, unix.EADDRINUSE
}

// port returns the one that the resolver listens on.
func (r *resolver) port() uint16 {
	if r.udp == nil {
		return 53
	}
	return r.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// stop returns when nothing of the resolver runs any more.
func (r *resolver) stop() {
	if r.udp == nil {
		return
	}
	r.cancel()
	_ = r.udp.Close()
	_ = r.tcp.Close()
	r.wg.Wait()
	r.udp, r.tcp = nil, nil
}

func (r *resolver) serveUDP(ctx context.Context, c *net.UDPConn, subnet netip.Prefix) {
	buf := make([]byte, 4096)
	for {
		k, from, err := c.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil || !subnet.Contains(from.Addr().Unmap()) {
			continue
		}
		resp, q, forward := r.names.answer(from.Addr(), buf[:k], subnet)
		if forward && !r.asks {
			resp, forward = q.reply(dnsmessage.RCodeServerFailure, nil), false
		}
		if !forward {
			r.sendUDP(c, resp, q, from)
			continue
		}
		release, ok := r.queries.take(from.Addr())
		if !ok {
			continue
		}
		msg := append([]byte(nil), buf[:k]...)
		r.wg.Go(func() {
			defer release()
			resp := r.fwd.exchange(ctx, msg, false)
			if resp == nil {
				resp = q.reply(dnsmessage.RCodeServerFailure, nil)
			}
			r.sendUDP(c, resp, q, from)
		})
	}
}

func (r *resolver) sendUDP(c *net.UDPConn, resp []byte, q question, to netip.AddrPort) {
	if len(resp) > q.udpSize {
		resp = q.truncated()
	}
	if len(resp) > 0 {
		_, _ = c.WriteToUDPAddrPort(resp, to) // a client that has gone is no error
	}
}

func (r *resolver) serveTCP(ctx context.Context, l net.Listener, subnet netip.Prefix) {
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil {
			select { // out of descriptors, say
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		release, ok := r.streams.take(from)
		if !ok || !subnet.Contains(from) {
			if ok {
				release()
			}
			_ = c.Close()
			continue
		}
		r.wg.Go(func() {
			defer release()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer func() { _ = c.Close() }()
			r.serveStream(ctx, c, from, subnet)
		})
	}
}

// serveStream answers one query after the other.
func (r *resolver) serveStream(ctx context.Context, c net.Conn, from netip.Addr, subnet netip.Prefix) {
	for {
		if err := c.SetDeadline(time.Now().Add(streamIdle)); err != nil {
			return
		}
		msg, err := readTCP(c)
		if err != nil {
			return
		}
		resp, q, forward := r.names.answer(from, msg, subnet)
		if forward {
			if r.asks {
				resp = r.fwd.exchange(ctx, msg, true)
			}
			if resp == nil {
				resp = q.reply(dnsmessage.RCodeServerFailure, nil)
			}
		}
		if len(resp) == 0 || writeTCP(c, resp) != nil {
			return
		}
	}
}

// limiter bounds how much is under way in all and for each client.
type limiter struct {
	all, each int
	mu        sync.Mutex
	total     int
	by        map[netip.Addr]int
}

func newLimiter(all, each int) *limiter {
	return &limiter{all: all, each: each, by: map[netip.Addr]int{}}
}

func (l *limiter) take(a netip.Addr) (release func(), ok bool) {
	a = a.Unmap()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.all || l.by[a] >= l.each {
		return nil, false
	}
	l.total++
	l.by[a]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		if l.by[a]--; l.by[a] == 0 {
			delete(l.by, a)
		}
	}, true
}
