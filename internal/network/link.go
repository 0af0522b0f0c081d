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
func (n *Network) port(id string, tap bool) string {
	if tap {
		return linkName(n.cfg.Bridge, kindTap, id)
	}
	return linkName(n.cfg.Bridge, kindHost, id)
}

// addLink makes the links of a lease, unless it has taken over a spare's, and
// returns the name of the one for the container.
func (n *Network) addLink(e lease, b bridge) (string, error) {
	switch {
	case e.Spare != "" && e.Tap:
		return n.port(e.Spare, true), nil
	case e.Spare != "":
		return n.peer(e.Spare), nil
	case e.Tap:
		return n.addTap(e.ID, e.Owner, b)
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
	attrs.Name = n.port(id, false)
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

func (n *Network) addTap(id string, owner int, b bridge) (string, error) {
	name := n.port(id, true)
	// A tap that is left over may have another owner.
	if err := removeLink(name); err != nil {
		return "", err
	}
	if err := makeTap(name, owner); err != nil {
		return "", fmt.Errorf("cannot make tap %s: %w; check that /dev/net/tun exists (modprobe tun)", name, err)
	}
	err := func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(link, b.mtu); err != nil {
			return err
		}
		if err := netlink.LinkSetMasterByIndex(link, b.index); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	}()
	if err != nil {
		return "", errors.Join(fmt.Errorf("cannot attach tap %s to bridge %s: %w", name, n.cfg.Bridge, err), removeLink(name))
	}
	return name, nil
}

// reflect lets frames leave through the port that they came from: with
// bridge-nf-call-iptables a connection of a container to its own published
// port is turned round inside the bridge.
func (n *Network) reflect(e lease) error {
	if len(e.Ports) == 0 {
		return nil
	}
	port := netlink.LinkAttrs{Name: n.port(e.link(), e.Tap)}
	if err := netlink.LinkSetHairpin(&netlink.Device{LinkAttrs: port}, true); err != nil {
		return fmt.Errorf("cannot set hairpin mode on %s: %w", port.Name, err)
	}
	return nil
}

// removePort removes a lease's port, and with it a veth pair's other end.
func (n *Network) removePort(e lease) error { return removeLink(n.port(e.link(), e.Tap)) }

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
		keep[n.port(e.link(), e.Tap)] = true
		keep[n.peer(e.link())] = true
	}
	var errs []error
	for _, l := range links {
		name := l.Attrs().Name
		if len(name) == unix.IFNAMSIZ-1 && strings.HasPrefix(name, linkPrefix(n.cfg.Bridge)) && !strings.HasPrefix(name, bridgePrefix(n.cfg.Bridge)) && !keep[name] {
			n.log.Info("removing a link that no container owns", "link", name)
			errs = append(errs, removeLink(name))
		}
	}
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
