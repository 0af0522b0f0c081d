package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what one relay does at once; what is over them is not served.
const (
	maxRelayed  = 1024
	relayIdle   = 90 * time.Second // of UDP
	relayPacket = 64 << 10
)

// relayed tells whether processes of the host may connect to a published port
// by ::1, from which the kernel lets no NAT lead away.
func relayed(p PortBinding) bool {
	return p.HostIP == netip.IPv6Loopback() || p.HostIP == netip.IPv6Unspecified()
}

// relay is the reservation of a port that ::1 belongs to. What comes there from
// this host it carries to the container; it lives and dies with the daemon.
type relay struct {
	port uint16 // the container's
	tcp  net.Listener
	udp  *net.UDPConn

	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup

	mu      sync.Mutex
	count   int
	clients map[netip.AddrPort]net.Conn // of UDP
}

// newRelay makes one of a listener or a socket, which start lets work.
func newRelay(p PortBinding, tcp net.Listener, udp *net.UDPConn) *relay {
	r := &relay{port: p.ContainerPort, tcp: tcp, udp: udp, clients: map[netip.AddrPort]net.Conn{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// relay lets a container's relays work, which do nothing else before.
func (r *reservations) relay(e lease) {
	if !e.Address6.IsValid() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.held[e.ID] {
		if rl, ok := s.(*relay); ok {
			rl.start(e.Address6)
		}
	}
}

func (r *relay) start(to netip.Addr) {
	target := netip.AddrPortFrom(to, r.port).String()
	r.once.Do(func() {
		r.wg.Go(func() {
			if r.tcp != nil {
				r.serveTCP(target)
			} else {
				r.serveUDP(target)
			}
		})
	})
}

// Close returns when nothing of the relay runs any more.
func (r *relay) Close() error {
	r.cancel()
	var err error
	if r.tcp != nil {
		err = r.tcp.Close()
	} else {
		err = r.udp.Close()
	}
	r.wg.Wait()
	return err
}

// enter counts what is under way.
func (r *relay) enter() (leave func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count >= maxRelayed {
		return nil, false
	}
	r.count++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count--
	}, true
}

func (r *relay) serveTCP(target string) {
	for {
		c, err := r.tcp.Accept()
		if r.ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil {
			select { // out of descriptors, say
			case <-r.ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		leave, ok := r.enter()
		if !ok || !c.RemoteAddr().(*net.TCPAddr).IP.IsLoopback() { // where the rules are not, others get here
			if ok {
				leave()
			}
			_ = c.Close()
			continue
		}
		r.wg.Go(func() {
			defer leave()
			r.carry(c.(*net.TCPConn), target)
		})
	}
}

// carry copies both ways until both sides have ended.
func (r *relay) carry(c *net.TCPConn, target string) {
	defer func() { _ = c.Close() }()
	d := net.Dialer{Timeout: 30 * time.Second}
	d.SetMultipathTCP(false)
	to, err := d.DialContext(r.ctx, "tcp6", target)
	if err != nil {
		_ = c.SetLinger(0) // refused, as it would be there
		return
	}
	defer func() { _ = to.Close() }()
	t := to.(*net.TCPConn)
	stop := context.AfterFunc(r.ctx, func() { _, _ = c.Close(), t.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(t, c)
		endWrite(t, c, err)
	}()
	_, err = io.Copy(c, t)
	endWrite(c, t, err)
	<-done
}

// endWrite tells to that from has nothing more to say, or ends both.
func endWrite(to, from *net.TCPConn, err error) {
	if err != nil || to.CloseWrite() != nil {
		_, _ = to.Close(), from.Close()
	}
}

func (r *relay) serveUDP(target string) {
	buf := make([]byte, relayPacket)
	for {
		k, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil || !from.Addr().IsLoopback() {
			continue
		}
		if to := r.client(from, target); to != nil {
			_ = to.SetReadDeadline(time.Now().Add(relayIdle))
			_, _ = to.Write(buf[:k]) // packets may be lost
		}
	}
}

// client is the socket that speaks to the container for a client, whose
// answers it gets until there are none for a while.
func (r *relay) client(from netip.AddrPort, target string) net.Conn {
	r.mu.Lock()
	to := r.clients[from]
	r.mu.Unlock()
	if to != nil {
		return to
	}
	leave, ok := r.enter()
	if !ok {
		return nil
	}
	to, err := new(net.Dialer).DialContext(r.ctx, "udp6", target)
	if err != nil {
		leave()
		return nil
	}
	_ = to.SetReadDeadline(time.Now().Add(relayIdle))
	r.mu.Lock()
	r.clients[from] = to
	r.mu.Unlock()
	r.wg.Go(func() {
		defer leave()
		stop := context.AfterFunc(r.ctx, func() { _ = to.Close() })
		defer stop()
		defer func() {
			r.mu.Lock()
			delete(r.clients, from)
			r.mu.Unlock()
			_ = to.Close()
		}()
		buf := make([]byte, relayPacket)
		for {
			k, err := to.Read(buf)
			if err != nil {
				if errors.Is(err, unix.ECONNREFUSED) {
					continue // nobody listens there, yet
				}
				return
			}
			_ = to.SetReadDeadline(time.Now().Add(relayIdle))
			_, _ = r.udp.WriteToUDPAddrPort(buf[:k], from)
		}
	})
	return to
}
