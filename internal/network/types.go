package network

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/containerd/errdefs"
)

// Config says where a network lives.
type Config struct {
	Dir    string       // of the network's state, which a reboot may clear; made when missing
	Bridge string       // its name, at most 15 characters, no other engine's
	Subnet netip.Prefix // IPv4, at most a /29; the zero value chooses one that is free
	Log    *slog.Logger // nil: slog.Default()

	Gateway  netip.Addr   // the bridge's, of Subnet; the zero value is the first one
	Range    netip.Prefix // addresses are chosen from it; the zero value is all of Subnet
	Internal bool         // nothing gets out of the network or in, but to and from the host itself

	Subnet6  netip.Prefix // IPv6, which the network has too when this is valid
	Gateway6 netip.Addr   // as Gateway
	Range6   netip.Prefix // as Range
	// Default is the bridge of the engine's default network, whose other
	// networks are walled off from this one. Empty: it is this one.
	Default string
	// Reserved tells which subnets the engine's other networks have, whether
	// or not their bridges are there. It must not call this network. May be nil.
	Reserved func() []netip.Prefix
	// Beyond finds what a container calls name in the other networks that it is
	// in. It may be called at any time, also with Attach on its way. May be nil.
	Beyond func(id, name string) []netip.Addr
}

func (c *Config) reserved() []netip.Prefix {
	if c.Reserved == nil {
		return nil
	}
	return c.Reserved()
}

func (c *Config) gateway(subnet netip.Prefix) netip.Addr {
	if c.Gateway.IsValid() {
		return c.Gateway
	}
	return gatewayOf(subnet)
}

// Description is what there is to know of a network.
type Description struct {
	Made    time.Time // the same over restarts
	Subnet  netip.Prefix
	Gateway netip.Addr
}

// Request describes a container that joins the network.
type Request struct {
	ID string
	// Port is a tap of Taps that becomes the bridge's port, Trunk one behind
	// which the container's interface lies beside those in other networks.
	// Without both the container gets a veth pair.
	Port, Trunk string
	Hostname    string   // also a DNS name
	Names       []string // DNS names; the ID and its first 12 digits are names too
	MAC         string   // empty: derived from the address
	// Address is the one that the container should have. It gets another when
	// this one is taken or lies outside the subnet, and without one the
	// address that it had last.
	Address  netip.Addr
	Address6 netip.Addr // the same of the network's IPv6
	Ports    []PortBinding
	// Links are what this container alone calls others of the network: of each
	// name, one that all know.
	Links map[string]string
	// Spare is what Spare made and nothing has taken yet: its link is used.
	// Empty, or a link that has gone: a new one is made.
	Spare string
}

// PortBinding publishes a port of a container on the host.
type PortBinding struct {
	Proto         string     // "tcp" or "udp"; empty: tcp
	HostIP        netip.Addr // zero: every address of the host, of the families that the network has; 0.0.0.0 or ::, of one
	HostPort      uint16     // 0: one that is free
	LastHostPort  uint16     `json:",omitempty"` // 0: HostPort alone; else one that is free from HostPort to this one
	ContainerPort uint16
}

// Attachment is what a container needs to know of its place on the network.
type Attachment struct {
	// NIC is the interface for the container, on the host: the free end of a
	// veth pair, which its agent moves away, or the tap. Empty behind a trunk:
	// the guest makes one, which has to send with the MAC.
	NIC       string
	MAC       string
	MTU       int
	Addresses []string // CIDR
	Gateways  []string // none: the network is internal
	DNS       []string
	Search    []string      // of the host's resolv.conf; use ndots:0, so that names here are asked for first
	Ports     []PortBinding // with the host ports that were chosen
}

var validBridge = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`)

func (c Config) check() error {
	if !validBridge.MatchString(c.Bridge) {
		return fmt.Errorf("cannot use %q as a bridge's name: it needs 1 to 15 letters, digits and _.- and a letter first: %w", c.Bridge, errdefs.ErrInvalidArgument)
	}
	if c.Subnet != (netip.Prefix{}) && (!c.Subnet.IsValid() || !c.Subnet.Addr().Is4() || c.Subnet.Bits() > 29 || c.Subnet.Bits() < 8) {
		return fmt.Errorf("cannot use %s as the subnet of bridge %s: it must be IPv4 and of /8 to /29: %w", c.Subnet, c.Bridge, errdefs.ErrInvalidArgument)
	}
	if c.Gateway.IsValid() && !usable(c.Subnet, c.Gateway) {
		return fmt.Errorf("cannot use %s as the gateway of bridge %s: it is none that a host of %s may have: %w", c.Gateway, c.Bridge, c.Subnet, errdefs.ErrInvalidArgument)
	}
	if c.Range != (netip.Prefix{}) && (!c.Range.IsValid() || !c.Subnet.IsValid() || c.Range.Bits() < c.Subnet.Bits() || !c.Subnet.Contains(c.Range.Addr())) {
		return fmt.Errorf("cannot choose addresses of bridge %s from %s: it does not lie in %s: %w", c.Bridge, c.Range, c.Subnet, errdefs.ErrInvalidArgument)
	}
	return c.check6()
}

// check validates r and fills in defaults.
func (r *Request) check() error {
	if r.ID == "" || len(r.ID) > 255 {
		return fmt.Errorf("cannot attach a container to the network without a valid ID: %w", errdefs.ErrInvalidArgument)
	}
	if r.MAC != "" {
		mac, err := net.ParseMAC(r.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return fmt.Errorf("cannot use MAC address %q: it must be six hexadecimal pairs and not of a group: %w", r.MAC, errdefs.ErrInvalidArgument)
		}
		r.MAC = mac.String()
	}
	r.Ports = slices.Clone(r.Ports)
	for i := range r.Ports {
		if err := r.Ports[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *PortBinding) check() error {
	if p.Proto == "" {
		p.Proto = "tcp"
	}
	if p.Proto != "tcp" && p.Proto != "udp" {
		return fmt.Errorf("cannot publish port %d/%s: only tcp and udp can be published: %w", p.ContainerPort, p.Proto, errdefs.ErrInvalidArgument)
	}
	if p.ContainerPort == 0 {
		return fmt.Errorf("cannot publish port 0: name a port from 1 to 65535: %w", errdefs.ErrInvalidArgument)
	}
	p.HostIP = p.HostIP.Unmap()
	if p.HostIP.IsMulticast() || p.HostIP.Zone() != "" {
		return fmt.Errorf("cannot publish a port on %s: publish on an address of this host: %w", p.HostIP, errdefs.ErrInvalidArgument)
	}
	return nil
}

func (p PortBinding) String() string {
	return fmt.Sprintf("%s->%d/%s", netip.AddrPortFrom(p.HostIP, p.HostPort), p.ContainerPort, p.Proto)
}
