package network

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Kinds of link, as their names tell them.
const (
	kindHost = "h" // the end of a veth pair that is a port of the bridge
	kindPeer = "p" // the container's end
	kindTap  = "t"
	// kindBridge is in the names of user-defined networks' bridges, which
	// begin as the links of the default network's bridge do.
	kindBridge = "n"
)

// bridgePrefix begins the names of the bridges of the networks that users
// define in the engine with that default bridge, and of nothing else.
func bridgePrefix(def string) string { return linkPrefix(def) + kindBridge }

// BridgeName names the bridge of a user-defined network by its ID, which NewID
// made, and the engine's default bridge.
func BridgeName(def, id string) string { return bridgePrefix(def) + id[:8] }

// NewID returns an ID for a user-defined network, 64 hexadecimal digits, of
// which the names of its links follow. These are not those of another network
// of this engine, whose IDs are given, nor of what is on the host.
func NewID(def string, others []string) (string, error) {
	links, err := linkList()
	if err != nil {
		return "", err
	}
	for range 1000 {
		b := make([]byte, 32)
		rand.Read(b)
		id := hex.EncodeToString(b)
		bridge := BridgeName(def, id)
		prefix := linkPrefix(bridge)
		if prefix == linkPrefix(def) ||
			slices.ContainsFunc(others, func(other string) bool { return linkPrefix(BridgeName(def, other)) == prefix }) ||
			slices.ContainsFunc(links, func(l netlink.Link) bool {
				return l.Attrs().Name == bridge || strings.HasPrefix(l.Attrs().Name, prefix)
			}) {
			continue
		}
		return id, nil
	}
	return "", fmt.Errorf("cannot name the links of another network: remove networks that are no longer needed: %w", errdefs.ErrResourceExhausted)
}

// linkPrefix begins the names of all links of one bridge: 6 characters.
func linkPrefix(bridge string) string {
	sum := sha256.Sum256([]byte(bridge))
	return "ab" + hex.EncodeToString(sum[:2])
}

// linkName names a link of a container in 15 characters, the most that the
// kernel takes (IFNAMSIZ less one).
func linkName(bridge, kind, id string) string {
	sum := sha256.Sum256([]byte(id))
	return linkPrefix(bridge) + kind + hex.EncodeToString(sum[:4])
}

// port names the bridge's port of a container.
func (n *Network) port(e lease) string {
	if e.Port != "" {
		return e.Port
	}
	return n.hostEnd(e.link())
}

// hostEnd names the end of a veth pair that is a port of the bridge.
func (n *Network) hostEnd(id string) string { return linkName(n.cfg.Bridge, kindHost, id) }

// addLink makes the links of a lease, unless it has taken over a spare's, and
// returns the name of the one for the container.
func (n *Network) addLink(e lease, b bridge) (string, error) {
	switch {
	case e.Spare != "":
		return n.peer(e.Spare), nil
	case e.Port != "":
		if err := plugIn(e.Port, b); err != nil {
			return "", errors.Join(err, n.removePort(e))
		}
		return e.Port, nil
	case e.Trunk != "":
		return "", n.addBehind(e, b)
	}
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return "", err
	}
	return n.addPair(e.ID, mac, 0, b)
}

// peer names the container's end of a veth pair.
func (n *Network) peer(id string) string { return linkName(n.cfg.Bridge, kindPeer, id) }

// addPair makes a veth pair, plugged in at this side. mac is the container's
// end's; nil: any. That end is made in the network namespace of the process
// pid; 0: in this one.
func (n *Network) addPair(id string, mac net.HardwareAddr, pid int, b bridge) (string, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.hostEnd(id)
	attrs.MasterIndex = b.index
	attrs.MTU = b.mtu
	attrs.Flags = net.FlagUp
	veth := netlink.NewVeth(attrs)
	veth.PeerName = n.peer(id)
	veth.PeerHardwareAddr = mac
	veth.PeerMTU = uint32(b.mtu)
	if pid != 0 {
		veth.PeerNamespace = netlink.NsPid(pid)
	}
	err := netlink.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		// Left by a daemon that died before it had written down the lease.
		if err := removeLink(attrs.Name); err != nil {
			return "", err
		}
		err = netlink.LinkAdd(veth)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make veth pair %s: %w", attrs.Name, err)
	}
	return veth.PeerName, nil
}

// plugIn makes a tap a port of the bridge.
func plugIn(tap string, b bridge) error {
	link, err := netlink.LinkByName(tap)
	if err == nil {
		err = netlink.LinkSetMasterByIndex(link, b.index)
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("cannot attach tap %s to its bridge: %w", tap, err)
	}
	return nil
}

// unplug undoes plugIn, if the tap is there and a port of that bridge.
func unplug(tap string, bridge int) error {
	link, err := netlink.LinkByName(tap)
	if err == nil && (bridge == 0 || link.Attrs().MasterIndex == bridge) {
		err = netlink.LinkSetNoMaster(link)
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("cannot take tap %s from its bridge: %w", tap, err)
	}
	return nil
}

// addBehind makes a veth pair and connects its free end with a guest's tap.
func (n *Network) addBehind(e lease, b bridge) error {
	peer, err := n.addPair(e.ID, nil, 0, b)
	if err != nil {
		return err
	}
	// Its own stack has nothing to say there.
	_ = writeSysctl("1", "ipv6", "conf", peer, "disable_ipv6")
	if err = n.detourOf(e); err == nil {
		err = netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: peer}})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot connect %s with tap %s: %w", peer, e.Trunk, err), n.removePort(e))
	}
	return nil
}

// detourOf loads the rules of a lease behind a trunk.
func (n *Network) detourOf(e lease) error {
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return err
	}
	peer := n.peer(e.ID)
	return detour(peer, detourRule{dev: e.Trunk, from: mac, to: peer}, detourRule{dev: peer, to: e.Trunk})
}

// reflect lets frames leave through the port that they came from: with
// bridge-nf-call-iptables a connection of a container to its own published
// port is turned round inside the bridge.
func (n *Network) reflect(e lease) error {
	if len(e.Ports) == 0 {
		return nil
	}
	port := netlink.LinkAttrs{Name: n.port(e)}
	if err := netlink.LinkSetHairpin(&netlink.Device{LinkAttrs: port}, true); err != nil {
		return fmt.Errorf("cannot set hairpin mode on %s: %w", port.Name, err)
	}
	return nil
}

// removePort removes a lease's port, and with it a veth pair's other end. A tap
// stays, plugged in nowhere.
func (n *Network) removePort(e lease) error {
	if e.Port != "" {
		err := unplug(e.Port, n.bridge.index)
		if err == nil && n.bridge.index != 0 {
			err = n.unguard(e)
		}
		return err
	}
	if e.Trunk != "" {
		if err := dropDetours(n.peer(e.ID)); err != nil {
			return err
		}
	}
	return removeLink(n.port(e))
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err == nil || isGone(err) {
		return nil
	}
	return fmt.Errorf("cannot remove link %s: %w", name, err)
}

// isGone tells whether a link was absent, or vanished meanwhile, as a veth
// pair does with the namespace of one of its ends.
func isGone(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf) || errors.Is(err, unix.ENODEV)
}

// sweep removes every link of this bridge that belongs to no lease.
func (n *Network) sweep() error {
	links, err := linkList()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, e := range n.ledger.all() {
		keep[n.port(e)] = true
		keep[n.peer(e.link())] = true
	}
	var errs []error
	for _, l := range links {
		name := l.Attrs().Name
		kind, ours := strings.CutPrefix(name, linkPrefix(n.cfg.Bridge))
		if ours && len(name) == unix.IFNAMSIZ-1 && (kind[:1] == kindHost || kind[:1] == kindPeer) && !keep[name] {
			n.log.Info("removing a link that no container owns", "link", name)
			errs = append(errs, removeLink(name))
		}
	}
	errs = append(errs, sweepDetours(linkPrefix(n.cfg.Bridge)+kindPeer, func(peer string) bool { return keep[peer] }))
	return errors.Join(errs...)
}

// linkList lists all links; a list that others changed meanwhile is asked for again.
func linkList() ([]netlink.Link, error) {
	for range 10 {
		links, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list the host's links: %w", err)
		}
		return links, nil
	}
	return nil, fmt.Errorf("cannot list the host's links: %w", netlink.ErrDumpInterrupted)
}
