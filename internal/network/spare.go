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

// Spare makes links ahead of the container that will use them, by
// Request.Spare: a veth pair, or a tap for the user owner. nic is the
// container's end. Until then nothing passes. They are gone with the bridge,
// and a pair with the network namespace in which nic ends.
func (n *Network) Spare(ctx context.Context, id string, tap bool, owner int) (nic string, err error) {
	err = n.withBridge(ctx, func(b bridge) error {
		if tap {
			nic, err = n.addTap(id, owner, b)
		} else {
			nic, err = n.addPair(id, nil, b)
		}
		return err
	})
	return nic, err
}

// DropSpare removes a spare that nothing has taken.
func (n *Network) DropSpare(id string) error { return n.removeLinks(id) }

// stands says whether the spare of a request is there and plugged in.
func (n *Network) stands(r Request, b bridge) bool {
	if r.Spare == "" {
		return false
	}
	l, err := netlink.LinkByName(n.port(r.Spare, r.Tap))
	return err == nil && l.Attrs().MasterIndex == b.index
}
