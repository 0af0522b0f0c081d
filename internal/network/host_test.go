package network

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const isolatedEnv = "ABODE_TEST_ISOLATED"

// isolate runs the calling test in a process of its own, in fresh network and
// mount namespaces: nothing that it does reaches the machine's interfaces. In
// the outer process it returns true when the test has been run.
func isolate(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolatedEnv) == t.Name() {
		enter(t)
		return false
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces, bridges, nftables")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	return true
}

// enter prepares this process's namespaces: /run is empty, the host has the
// address 198.51.100.1 on up0, and the resolver 198.51.100.2.
func enter(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	check(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	check(t, os.WriteFile(conf, []byte("nameserver 198.51.100.2\nsearch example.test\n"), 0o644))
	check(t, unix.Mount(conf, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH) })
	up(t, "lo")
	check(t, writeSysctl("0", "ipv4", "ip_forward")) // a new namespace has the machine's
	check(t, writeSysctl("0", "ipv6", "conf", "all", "forwarding"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func up(t *testing.T, name string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	check(t, err)
	check(t, netlink.LinkSetUp(l))
}

// space is another network namespace.
type space struct {
	t *testing.T
	h netns.NsHandle
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{t: t}
	thread(t, func() {
		var err error
		s.h, err = netns.New()
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.h.Close() })
	s.do(func() { up(t, "lo") })
	return s
}

// thread runs f on an operating system thread that ends with it.
func thread(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f()
	}()
	<-done
}

// do runs f in the namespace. Sockets that it opens stay there. f must not
// call t.FailNow (see must).
func (s *space) do(f func()) {
	s.t.Helper()
	thread(s.t, func() {
		if err := netns.Set(s.h); err != nil {
			s.t.Error(err)
			return
		}
		f()
	})
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// must runs f in the namespace and fails the test on error.
func (s *space) must(f func() error) {
	s.t.Helper()
	var err error
	s.do(func() { err = f() })
	if err != nil {
		s.t.Fatal(err)
	}
}

// otherHost makes a host on a link with this one: this is 198.51.100.1, the
// other 198.51.100.2 and this one's default route.
func otherHost(t *testing.T) *space {
	t.Helper()
	s := newSpace(t)
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = "up0", 1400
	v := netlink.NewVeth(a)
	v.PeerName = "eth0"
	v.PeerMTU = 1400
	v.PeerNamespace = netlink.NsFd(int(s.h))
	check(t, netlink.LinkAdd(v))
	check(t, configure("up0", "198.51.100.1/24", "198.51.100.2"))
	s.must(func() error { return configure("eth0", "198.51.100.2/24", "") })
	return s
}

func configure(name, addr, gateway string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	if gateway == "" {
		return nil
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gateway)})
}

// openNetwork opens a network that is emptied and closed at the end.
func openNetwork(t *testing.T, cfg Config) *Network {
	t.Helper()
	if cfg.Bridge == "" {
		cfg.Bridge = "abtest0"
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	n, err := Open(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() {
		for _, e := range n.ledger.all() {
			if err := n.Detach(context.Background(), e.ID); err != nil {
				t.Error(err)
			}
		}
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// container is a namespace with an interface on the network, set up as an agent does.
type container struct {
	*space
	Attachment
	addr netip.Addr
}

func start(t *testing.T, n *Network, r Request) *container {
	t.Helper()
	a, err := n.Attach(t.Context(), r)
	check(t, err)
	return enterContainer(t, a)
}

func enterContainer(t *testing.T, a Attachment) *container {
	t.Helper()
	s := newSpace(t)
	l, err := netlink.LinkByName(a.NIC)
	check(t, err)
	check(t, netlink.LinkSetNsFd(l, int(s.h)))
	s.must(func() error {
		l, err := netlink.LinkByName(a.NIC)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetName(l, "eth0"); err != nil {
			return err
		}
		mac, err := net.ParseMAC(a.MAC)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetHardwareAddr(l, mac); err != nil {
			return err
		}
		for i, addr := range a.Addresses {
			gateway := ""
			if len(a.Gateways) > 0 {
				gateway = a.Gateways[i]
			}
			if err := configure("eth0", addr, gateway); err != nil {
				return err
			}
		}
		return nil
	})
	return &container{space: s, Attachment: a, addr: netip.MustParsePrefix(a.Addresses[0]).Addr()}
}

// serve answers every TCP connection and UDP packet to a port of the
// namespace with name and the address that it comes from.
func (s *space) serve(name string, port uint16) {
	s.t.Helper()
	s.must(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprintf(c, "%s %s", name, c.RemoteAddr().(*net.TCPAddr).IP)
				_ = c.Close()
			}
		}()
		p, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _ = p.Close() })
		go func() {
			buf := make([]byte, 100)
			for {
				_, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = p.WriteTo(fmt.Appendf(nil, "%s %s", name, from.(*net.UDPAddr).IP), from)
			}
		}()
		return nil
	})
}

// host is the test's own namespace.
func host(t *testing.T) *space {
	t.Helper()
	h, err := netns.Get()
	check(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return &space{t: t, h: h}
}

// ask returns what a server at the address says.
func (s *space) ask(network, addr string) (answer string, err error) {
	s.t.Helper()
	return s.askFrom(network, "", addr)
}

func (s *space) askFrom(network, from, addr string) (answer string, err error) {
	s.t.Helper()
	s.do(func() {
		d := net.Dialer{Timeout: patience}
		if from != "" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
			if network == "tcp" {
				d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
			}
		}
		var c net.Conn
		if c, err = d.Dial(network, addr); err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(patience))
		if network == "udp" {
			if _, err = c.Write([]byte("?")); err != nil {
				return
			}
			buf := make([]byte, 100)
			var k int
			k, err = c.Read(buf)
			answer = string(buf[:k])
			return
		}
		var b []byte
		b, err = io.ReadAll(c)
		answer = string(b)
	})
	return answer, err
}

// patience is how long a test waits for an answer that must come.
const patience = 5 * time.Second

// quiet is how long a test waits for an answer that must not come.
const quiet = 300 * time.Millisecond

func (s *space) want(network, addr, answer string) {
	s.t.Helper()
	got, err := s.ask(network, addr)
	if err != nil || got != answer {
		s.t.Errorf("%s %s: got %q, %v; want %q", network, addr, got, err, answer)
	}
}

// wantNone checks that nobody answers.
func (s *space) wantNone(network, from, addr string) {
	s.t.Helper()
	var got string
	s.do(func() {
		d := net.Dialer{Timeout: quiet}
		if from != "" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
			if network == "tcp" {
				d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
			}
		}
		c, err := d.Dial(network, addr)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(quiet))
		_, _ = c.Write([]byte("?"))
		buf := make([]byte, 100)
		k, err := c.Read(buf)
		if err == nil || network == "tcp" {
			got = fmt.Sprintf("an answer %q (%v)", buf[:k], err)
		}
	})
	if got != "" {
		s.t.Errorf("%s %s from %q: %s, want none", network, addr, from, got)
	}
}

func deadline() time.Time { return time.Now().Add(patience) }
