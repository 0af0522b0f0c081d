package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/vishvananda/netlink"
)

// SpareID returns an ID for a spare.
func SpareID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return "spare-" + hex.EncodeToString(b)
}

// SparePair makes a veth pair ahead of the container that will use it, by
// Request.Spare. Until then nothing passes. The container's end is made in the
// network namespace of the process pid, as SpareNIC, and the pair goes with it:
// to move an interface there takes grace periods during which nobody else can
// change the host's network.
func (n *Network) SparePair(ctx context.Context, id string, pid int) error {
	return n.withBridge(ctx, func(b bridge) error {
		_, err := n.addPair(id, nil, pid, b)
		return err
	})
}

// SpareNIC names the container's end of the pair that SparePair makes.
func (n *Network) SpareNIC(id string) string { return n.peer(id) }

// DropSpare removes a spare that nothing has taken.
func (n *Network) DropSpare(id string) error { return removeLink(n.hostEnd(id)) }

// stands says whether the spare of a request is there and plugged in.
func (n *Network) stands(r Request, b bridge) bool {
	if r.Spare == "" {
		return false
	}
	l, err := netlink.LinkByName(n.hostEnd(r.Spare))
	return err == nil && l.Attrs().MasterIndex == b.index
}
