package engine

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/network"
)

// defaultNetwork is the name of the network of containers whose users name no
// other, and in records its ID.
const defaultNetwork = "bridge"

// endpoint is a container's place in a network, as it was asked for.
type endpoint struct {
	Network string // its ID, or defaultNetwork
	Name    string
	Aliases []string   `json:",omitempty"`
	MAC     string     `json:",omitempty"`
	Address netip.Addr `json:",omitzero"`
	// Address6 is the IPv6 one.
	Address6 netip.Addr `json:",omitzero"`
}

// place is the container's place in its network, or an endpoint that tells
// that it has the host's or none.
func (rec *record) place() endpoint {
	if len(rec.Endpoints) > 0 {
		return rec.Endpoints[0]
	}
	n := networkName(rec.Config, rec.Host)
	if rec.Disconnected {
		n = "none"
	}
	return endpoint{Network: n, Name: n}
}

// attached says whether it is a place in a network of the engine's.
func (p endpoint) attached() bool {
	return p.Network != "host" && p.Network != "none" && !container.NetworkMode(p.Network).IsContainer()
}

// defined says whether users have made the network.
func (p endpoint) defined() bool { return p.attached() && p.Network != defaultNetwork }

// id is the network's for clients.
func (p endpoint) id() string {
	if p.defined() {
		return p.Network
	}
	return NetworkID(p.Network)
}

// endpoints finds the network that was asked for, and reads what was asked of
// the place in it.
func (e *Engine) endpoints(rec *record, net *apinetwork.NetworkingConfig) error {
	place := rec.place()
	if place.defined() {
		n, err := e.networks.Find(place.Name)
		if err != nil {
			// Not ErrNotFound: to a create that fails so, clients answer with a pull.
			return invalid("network %s not found; abode network create makes one", place.Name)
		}
		place.Network, place.Name = n.ID, n.Name
	}
	if net != nil {
		for name, ep := range net.EndpointsConfig {
			if err := e.checkEndpoint(rec.Host, place, name); err != nil {
				return err
			}
			if ep == nil {
				continue
			}
			if !place.attached() {
				if err := checkUnattached(ep); err != nil {
					return err
				}
				continue
			}
			if err := place.read(ep); err != nil {
				return err
			}
		}
	}
	if err := e.checkAddress6(place); err != nil {
		return err
	}
	if place.attached() {
		rec.Endpoints = []endpoint{place}
	}
	return nil
}

// checkEndpoint refuses what is asked of another network than the container's.
func (e *Engine) checkEndpoint(h *container.HostConfig, place endpoint, name string) error {
	switch {
	case name == place.Name, name == string(h.NetworkMode), name == "default" && place.Network == defaultNetwork:
		return nil
	case name == defaultNetwork, name == "default":
	default:
		n, err := e.networks.Find(name)
		if err != nil {
			return invalid("network %s not found; abode network create makes one", name)
		}
		if n.ID == place.Network {
			return nil
		}
	}
	return instead("name one with --network; containers that are to reach each other join the same one", "a container in several networks (%s and %s)", place.Name, name)
}

// read takes over what a client asks of the place.
func (p *endpoint) read(ep *apinetwork.EndpointSettings) error {
	if len(ep.Links) > 0 {
		return instead("containers of the network reach each other by name, and by --network-alias", "--link")
	}
	if len(ep.DriverOpts) > 0 {
		return later("a driver option of an endpoint")
	}
	p.Aliases = append(p.Aliases, ep.Aliases...)
	if len(ep.MacAddress) > 0 {
		p.MAC = ep.MacAddress.String()
	}
	if ep.IPAMConfig == nil {
		return nil
	}
	if len(ep.IPAMConfig.LinkLocalIPs) > 0 {
		return later("a link-local address")
	}
	p.Address, p.Address6 = ep.IPAMConfig.IPv4Address, ep.IPAMConfig.IPv6Address
	if p.Address.IsValid() && !p.Address.Is4() {
		return invalid("invalid IPv4 address: %s", p.Address)
	}
	if p.Address6.IsValid() && (!p.Address6.Is6() || p.Address6.Is4In6() || p.Address6.Zone() != "") {
		return invalid("invalid IPv6 address: %s", p.Address6)
	}
	return nil
}

// fixed says whether the user names an address of the place.
func (p endpoint) fixed() bool { return p.Address.IsValid() || p.Address6.IsValid() }

// join returns the network of a container, which is not removed before leave.
func (e *Engine) join(rec *record) (*network.Network, error) {
	p := rec.place()
	if !p.defined() {
		return e.network, nil
	}
	n, err := e.networks.Use(p.Network, rec.ID, rec.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot set up the container's network %s: %w", p.Name, err)
	}
	return n, nil
}

// leave takes a container's place in its network away, if it has one.
func (e *Engine) leave(ctx context.Context, rec *record) error {
	p := rec.place()
	if !p.defined() {
		return e.network.Detach(ctx, rec.ID)
	}
	defer e.networks.Leave(p.Network, rec.ID)
	if n := e.networks.Get(p.Network); n != nil {
		return n.Detach(ctx, rec.ID)
	}
	return nil
}

// renamed tells a running container's network of its name.
func (e *Engine) renamed(rec *record) {
	n, err := e.join(rec)
	if err != nil {
		e.log.Warn("renaming a container", "container", rec.ID, "error", err)
		return
	}
	n.Rename(rec.ID, rec.dnsNames())
}

// networkEvent tells that a container has joined its network, or left it.
func (c *Container) networkEvent(action events.Action, rec *record) {
	p := rec.place()
	if !p.attached() {
		return
	}
	c.e.events.Publish(events.NetworkEventType, action, p.id(), map[string]string{"container": rec.ID, "name": p.Name, "type": NetworkDriver})
}
