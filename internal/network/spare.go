package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/vishvananda/netlink"
)

// Spare makes a veth pair ahead of the container that will use it: id is for
// Request.Spare, nic the container's end. Until then nothing passes. It is
// gone with the bridge, and with the network namespace in which nic ends.
func (n *Network) Spare(ctx context.Context) (id, nic string, err error) {
	b := make([]byte, 8)
	rand.Read(b)
	id = "spare-" + hex.EncodeToString(b)
	err = n.withBridge(ctx, func(b bridge) error {
		nic, err = n.addPair(id, nil, b)
		return err
	})
	return id, nic, err
}

// DropSpare removes a spare that nothing has taken.
func (n *Network) DropSpare(id string) error { return n.removeLinks(id) }

// stands says whether a spare is there and plugged in.
func (n *Network) stands(id string, b bridge) bool {
	if id == "" {
		return false
	}
	l, err := netlink.LinkByName(n.port(id, false))
	return err == nil && l.Attrs().MasterIndex == b.index
}
