package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// send sends one DNS message to the container's resolver and returns the answer.
func (c *container) send(t *testing.T, msg []byte, tcp bool) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	c.must(func() error {
		network := "udp"
		if tcp {
			network = "tcp"
		}
		conn, err := net.Dial(network, net.JoinHostPort(c.DNS[0], "53"))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(deadline())
		var resp []byte
		if tcp {
			if err := writeTCP(conn, msg); err != nil {
				return err
			}
			resp, err = readTCP(conn)
		} else {
			if _, err := conn.Write(msg); err != nil {
				return err
			}
			resp = make([]byte, 65535)
			var k int
			k, err = conn.Read(resp)
			resp = resp[:k]
		}
		if err != nil {
			return err
		}
		return m.Unpack(resp)
	})
	return m
}

func newQuery(name string, typ dnsmessage.Type, udpSize int) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: typ, Class: dnsmessage.ClassINET}},
	}
	if udpSize > 0 {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(udpSize, 0, false)
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// query asks for the addresses of a name, sorted.
func (c *container) query(t *testing.T, name string, tcp bool) []string {
	t.Helper()
	return addresses(c.send(t, newQuery(name, dnsmessage.TypeA, 0), tcp))
}

func addresses(m dnsmessage.Message) []string {
	var got []string
	for _, a := range m.Answers {
		if r, ok := a.Body.(*dnsmessage.AResource); ok {
			got = append(got, netip.AddrFrom4(r.A).String())
		}
	}
	slices.Sort(got)
	return got
}

// upstream answers DNS in a namespace: many.test with 100 addresses,
// fail.test with SERVFAIL, silent.test never, and everything else with 192.0.2.1.
func (s *space) upstream(t *testing.T) {
	t.Helper()
	answer := func(msg []byte, tcp bool) []byte {
		var m dnsmessage.Message
		if m.Unpack(msg) != nil || len(m.Questions) != 1 {
			return nil
		}
		m.Response = true
		q := m.Questions[0]
		count := 1
		switch q.Name.String() {
		case "silent.test.":
			return nil
		case "fail.test.":
			count, m.RCode = 0, dnsmessage.RCodeServerFailure
		case "many.test.":
			count = 100
		}
		for i := range count {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i + 1)}},
			})
		}
		b, err := m.Pack()
		if err == nil && !tcp && len(b) > plainUDP && len(m.Additionals) == 0 {
			m.Answers, m.Truncated = nil, true
			b, err = m.Pack()
		}
		if err != nil {
			return nil
		}
		return b
	}
	s.must(func() error {
		p, err := net.ListenPacket("udp4", ":53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = p.Close() })
		go func() {
			buf := make([]byte, 65535)
			for {
				k, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				// An answer to something else comes first.
				if b := answer(buf[:k], false); b != nil {
					wrong := slices.Clone(b)
					wrong[0] ^= 1
					_, _ = p.WriteTo(wrong, from)
					_, _ = p.WriteTo(b, from)
				}
			}
		}()
		l, err := net.Listen("tcp4", ":53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if msg, err := readTCP(c); err == nil {
					_ = writeTCP(c, answer(msg, true))
				}
				_ = c.Close()
			}
		}()
		return nil
	})
}

func TestDNS(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t).upstream(t)
	n := openNetwork(t, Config{})
	id := strings.Repeat("0123456789abcdef", 4)
	a := start(t, n, Request{ID: id, Hostname: "Host-A", Names: []string{"web", "shared"}})
	b := start(t, n, Request{ID: "bbbb", Names: []string{"shared"}})
	if !slices.Equal(a.Search, []string{"example.test"}) {
		t.Errorf("search domains: %v", a.Search)
	}
	both := []string{a.addr.String(), b.addr.String()}
	slices.Sort(both)
	for _, tcp := range []bool{false, true} {
		for name, want := range map[string][]string{
			"web": {a.addr.String()}, "WEB": {a.addr.String()}, "host-a": {a.addr.String()},
			id: nil, id[:12]: {a.addr.String()}, "shared": both,
			"elsewhere.test": {"192.0.2.1"},
		} {
			if len(name) > 63 {
				continue // no DNS label
			}
			if got := b.query(t, name, tcp); !slices.Equal(got, want) {
				t.Errorf("%s (tcp %v): %v, want %v", name, tcp, got, want)
			}
		}
		m := b.send(t, newQuery("web", dnsmessage.TypeAAAA, 1232), tcp)
		if m.RCode != 0 || len(m.Answers) != 0 || m.ID != 4711 || !m.Response || len(m.Additionals) != 1 {
			t.Errorf("AAAA of a container: %+v", m)
		}
		four := a.addr.As4()
		rev := fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", four[3], four[2], four[1], four[0])
		m = b.send(t, newQuery(rev, dnsmessage.TypePTR, 0), tcp)
		if len(m.Answers) != 1 || m.Answers[0].Body.(*dnsmessage.PTRResource).PTR.String() != "web." {
			t.Errorf("PTR: %+v", m)
		}
		m = b.send(t, newQuery(fmt.Sprintf("250.250.%d.%d.in-addr.arpa", four[1], four[0]), dnsmessage.TypePTR, 0), tcp)
		if m.RCode != dnsmessage.RCodeNameError {
			t.Errorf("PTR of nobody: %+v", m)
		}
		if m = b.send(t, newQuery("fail.test", dnsmessage.TypeA, 0), tcp); m.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("a resolver's failure: %+v", m)
		}
	}
	// Long answers: truncated, whole by TCP, whole with EDNS.
	if m := b.send(t, newQuery("many.test", dnsmessage.TypeA, 0), false); !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("long answer by UDP: truncated %v, %d answers", m.Truncated, len(m.Answers))
	}
	if got := b.query(t, "many.test", true); len(got) != 100 {
		t.Errorf("long answer by TCP: %d", len(got))
	}
	if m := b.send(t, newQuery("many.test", dnsmessage.TypeA, 4096), false); m.Truncated || len(m.Answers) != 100 {
		t.Errorf("long answer with EDNS: truncated %v, %d answers", m.Truncated, len(m.Answers))
	}
	// Garbage kills nobody.
	b.must(func() error {
		c, err := net.Dial("udp", net.JoinHostPort(b.DNS[0], "53"))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for _, g := range []string{"", "x", strings.Repeat("\xff", 500), strings.Repeat("\x00", 12)} {
			if _, err := io.WriteString(c, g); err != nil {
				return err
			}
		}
		return nil
	})
	n.Rename("bbbb", []string{"new"})
	if got := a.query(t, "new", false); !slices.Equal(got, []string{b.addr.String()}) {
		t.Errorf("after Rename: %v", got)
	}
	check(t, n.Detach(t.Context(), "bbbb"))
	if got := a.query(t, "shared", false); !slices.Equal(got, []string{a.addr.String()}) {
		t.Errorf("after Detach: %v", got)
	}
}

// A server on every address of the host does not keep containers from names.
func TestDNSBesideAnotherServer(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t)
	host(t).upstream(t)
	n := openNetwork(t, Config{})
	a := start(t, n, Request{ID: "aaaa", Names: []string{"a"}})
	for _, tcp := range []bool{false, true} {
		if got := a.query(t, "a", tcp); !slices.Equal(got, []string{a.addr.String()}) {
			t.Errorf("tcp %v: %v", tcp, got)
		}
	}
}

// A resolver that does not answer is not waited for longer than the timeout,
// and the next one is asked.
func TestForwarderGoesOn(t *testing.T) {
	if isolate(t) {
		return
	}
	host(t).upstream(t)
	f := newForwarder(netip.Addr{})
	f.timeout = 50 * time.Millisecond
	f.conf = resolvConf{servers: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}}
	f.read = time.Now().Add(time.Hour)
	if resp := f.exchange(context.Background(), newQuery("silent.test", dnsmessage.TypeA, 0), false); resp != nil {
		t.Errorf("silence gave %x", resp)
	}
	// What answers there answers from another address, which nobody listens to.
	f.timeout = time.Second
	f.conf.servers = []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}
	var m dnsmessage.Message
	check(t, m.Unpack(f.exchange(context.Background(), newQuery("x.test", dnsmessage.TypeA, 0), false)))
	if got := addresses(m); !slices.Equal(got, []string{"192.0.2.1"}) || m.ID != 4711 {
		t.Errorf("got %v, ID %d", got, m.ID)
	}
	f.self = netip.MustParseAddr("127.0.0.9")
	if s := f.servers(); len(s) != 1 {
		t.Errorf("asks itself: %v", s)
	}
}
