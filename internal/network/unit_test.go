package network

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/net/dns/dnsmessage"
)

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func TestChooseSubnet(t *testing.T) {
	var none netip.Prefix
	for _, c := range []struct {
		wished, last netip.Prefix
		used         []netip.Prefix
		want         string
	}{
		{none, none, nil, "172.18.0.0/16"},
		{none, none, prefixes("172.18.5.0/24", "172.19.0.1/32"), "172.20.0.0/16"},
		{none, none, prefixes("172.16.0.0/12"), "10.0.0.0/16"},
		{none, none, prefixes("172.16.0.0/12", "10.0.0.0/9"), "10.128.0.0/16"},
		{none, netip.MustParsePrefix("10.7.0.0/16"), nil, "10.7.0.0/16"},
		{none, netip.MustParsePrefix("10.7.0.0/16"), prefixes("10.7.1.0/24"), "172.18.0.0/16"},
		{netip.MustParsePrefix("192.168.9.7/24"), none, nil, "192.168.9.0/24"},
		{netip.MustParsePrefix("192.168.9.0/24"), none, prefixes("192.168.0.0/16"), ""},
		{none, none, prefixes("172.16.0.0/12", "10.0.0.0/8"), ""},
	} {
		got, err := chooseSubnet(c.wished, c.last, c.used)
		if c.want == "" {
			if err == nil {
				t.Errorf("%+v: got %s", c, got)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
	// Small pieces are found where no large one is left.
	var used []netip.Prefix
	for p := range candidates {
		if p.Bits() == 16 {
			used = append(used, netip.PrefixFrom(p.Addr().Next(), 24).Masked())
		}
	}
	if p, err := chooseSubnet(none, none, used); err != nil || p.Bits() != 24 {
		t.Errorf("with all /16 in use: %s, %v", p, err)
	}
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")
	l, err := openLedger(path)
	check(t, err)
	l.setSubnet(netip.MustParsePrefix("10.0.0.0/29")) // 5 containers
	take := func(id string, want netip.Addr) netip.Addr {
		t.Helper()
		e, err := l.take(Request{ID: id, Address: want})
		check(t, err)
		return e.Address
	}
	seen := map[netip.Addr]bool{}
	for i := range 5 {
		seen[take(fmt.Sprint(i), netip.Addr{})] = true
	}
	for i := 2; i <= 6; i++ {
		if a := hostAt(l.subnet(), uint32(i)); !seen[a] {
			t.Errorf("%s was not given", a)
		}
	}
	if _, err := l.take(Request{ID: "more"}); !errors.Is(err, errdefs.ErrResourceExhausted) {
		t.Errorf("a full subnet: %v", err)
	}
	third, _ := l.get("3")
	l.release("3")
	l.release("1")
	check(t, l.save())
	l, err = openLedger(path)
	check(t, err)
	if a := take("3", netip.Addr{}); a != third.Address {
		t.Errorf("container 3 had %s and got %s", third.Address, a)
	}
	// An address that is only remembered is given when there is no other.
	take("new", netip.Addr{})
	if len(l.d.Past) != 0 {
		t.Errorf("still remembered: %v", l.d.Past)
	}
	for _, bad := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.8", third.Address.String()} {
		l.release("new")
		if a := take("new", netip.MustParseAddr(bad)); a.String() == bad {
			t.Errorf("%s was given", bad)
		}
	}
}

func TestResolvConf(t *testing.T) {
	c := parseResolvConf("# nameserver 1.1.1.1\nnameserver 127.0.0.53 # stub\n; x\nnameserver ::ffff:10.0.0.1\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n" +
		"domain old.example\nsearch a.example b.example .\nnameserver\noptions edns0\nnameserver junk")
	want := []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")}
	if !slices.Equal(c.servers, want) || !slices.Equal(c.search, []string{"a.example", "b.example"}) {
		t.Errorf("%+v", c)
	}
}

func TestRequestCheck(t *testing.T) {
	for _, r := range []Request{
		{},
		{ID: "x", MAC: "zz"},
		{ID: "x", MAC: "01:00:5e:00:00:01"},
		{ID: "x", Ports: []PortBinding{{Proto: "sctp", ContainerPort: 1}}},
		{ID: "x", Ports: []PortBinding{{HostPort: 1}}},
		{ID: "x", Ports: []PortBinding{{ContainerPort: 1, HostIP: netip.MustParseAddr("ff02::1")}}},
	} {
		if err := r.check(); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, c := range []Config{{}, {Bridge: "a/b"}, {Bridge: "sixteencharacter"}, {Bridge: "b", Subnet: netip.MustParsePrefix("10.0.0.0/30")}, {Bridge: "b", Subnet: netip.MustParsePrefix("fd00::/64")},
		{Bridge: "b", Subnet6: netip.MustParsePrefix("10.0.0.0/24")}, {Bridge: "b", Subnet6: netip.MustParsePrefix("fd00::/127")}, {Bridge: "b", Gateway6: netip.MustParseAddr("fd00::1")},
		{Bridge: "b", Subnet6: netip.MustParsePrefix("fd00::/64"), Gateway6: netip.MustParseAddr("fd00::")},
		{Bridge: "b", Subnet6: netip.MustParsePrefix("fd00::/64"), Range6: netip.MustParsePrefix("fd01::/64")}} {
		if err := c.check(); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Whatever arrives on port 53, the answer to it is a DNS answer with the same
// ID, no longer than the client takes, or nothing.
func FuzzAnswer(f *testing.F) {
	f.Add(newQuery("web", dnsmessage.TypeA, 0))
	f.Add(newQuery("WEB", dnsmessage.TypeALL, 4096))
	f.Add(newQuery("2.0.18.172.in-addr.arpa", dnsmessage.TypePTR, 0))
	f.Add(newQuery("9.9.18.172.in-addr.arpa", dnsmessage.TypePTR, 0))
	f.Add(newQuery("web", dnsmessage.TypeAAAA, 0))
	f.Add(newQuery("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", dnsmessage.TypePTR, 0))
	f.Add(newQuery("elsewhere.example", dnsmessage.TypeMX, 100))
	f.Add([]byte{0, 1, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	n := newNames(nil)
	n.subnet6 = netip.MustParsePrefix("fd00::/64")
	n.set(lease{ID: "0123456789abcdef", Address: netip.MustParseAddr("172.18.0.2"), Address6: netip.MustParseAddr("fd00::2"), Names: []string{"web"}})
	subnet := netip.MustParsePrefix("172.18.0.0/16")
	f.Fuzz(func(t *testing.T, msg []byte) {
		resp, q, forward := n.answer(netip.Addr{}, msg, subnet)
		if forward {
			if resp != nil || len(msg) < hdrLen {
				t.Fatal("forwarded and answered")
			}
			resp = q.truncated()
		}
		if resp == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(resp); err != nil {
			t.Fatalf("answer cannot be read: %v", err)
		}
		if !m.Response || resp[0] != msg[0] || resp[1] != msg[1] {
			t.Fatalf("not an answer to the query: %+v", m)
		}
		if len(resp) > q.udpSize && !forward {
			t.Fatalf("%d bytes for a client that takes %d", len(resp), q.udpSize)
		}
		_ = matchesQuery(resp, msg)
		_ = matchesQuery(msg, resp)
	})
}
