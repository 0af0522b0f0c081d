package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A container may take over a pair that was made ahead; what has vanished is
// made anew, and what nobody took is gone with the bridge.
func TestSpare(t *testing.T) {
	if isolate(t) {
		return
	}
	otherHost(t)
	before := snapshot(t)
	n := openNetwork(t, Config{Dir: t.TempDir()})
	id, lost := SpareID(), SpareID()
	nic := n.SpareNIC(id)
	check(t, n.SparePair(t.Context(), id, unix.Gettid()))
	a, err := n.Attach(t.Context(), Request{ID: "aaaa", Names: []string{"a"}, Spare: id})
	check(t, err)
	if a.NIC != nic {
		t.Errorf("it got %s, not the spare's %s", a.NIC, nic)
	}
	one := enterContainer(t, a)
	one.serve("a", 80)
	two := start(t, n, Request{ID: "bbbb"})
	two.want("tcp", netip.AddrPortFrom(one.addr, 80).String(), "a "+two.addr.String())

	nic = n.SpareNIC(lost)
	check(t, n.SparePair(t.Context(), lost, unix.Gettid()))
	check(t, n.DropSpare(lost))
	three, err := n.Attach(t.Context(), Request{ID: "cccc", Spare: lost})
	check(t, err)
	if three.NIC == nic {
		t.Error("it got a link that has gone")
	}
	if _, err := netlink.LinkByName(three.NIC); err != nil {
		t.Error(err)
	}

	for _, id := range []string{"aaaa", "bbbb", "cccc"} {
		check(t, n.Detach(t.Context(), id))
	}
	check(t, n.SparePair(t.Context(), SpareID(), unix.Gettid()))
	check(t, n.Close(t.Context()))
	if after := snapshot(t); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}
