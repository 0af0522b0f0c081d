package network

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// A bridge that a killed daemon made and did not mark is made anew; somebody
// else's, which is up, is left alone.
func TestHalfMadeBridge(t *testing.T) {
	if isolate(t) {
		return
	}
	n := openNetwork(t, Config{})
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.cfg.Bridge
	attrs.HardwareAddr = []byte{0x02, 0x42, 10, 0, 0, 1}
	half := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(half); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(half); err != nil {
		t.Fatal(err)
	}
	if _, err := n.findBridge(); err == nil {
		t.Error("a bridge that is in use was taken for a half-made one")
	}
	if err := netlink.LinkSetDown(half); err != nil {
		t.Fatal(err)
	}
	start(t, n, Request{ID: "aaaa"})
}
