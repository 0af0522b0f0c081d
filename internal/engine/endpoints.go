package engine

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

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
	Network  string // its ID, or defaultNetwork
	Name     string
	Aliases  []string          `json:",omitempty"`
	Links    map[string]string `json:",omitempty"` // what the container calls others there: their names
	MAC      string            `json:",omitempty"`
	Address  netip.Addr        `json:",omitzero"`
	Address6 netip.Addr        `json:",omitzero"`  // the IPv6 one
	Priority int               `json:",omitempty"` // as the one with the default route; the highest wins
}

// defined says whether users have made the network.
func (p endpoint) defined() bool { return p.Network != defaultNetwork }

// id is the network's for clients.
func (p endpoint) id() string {
	if p.defined() {
		return p.Network
	}
	return NetworkID(p.Network)
}

// networked says whether the container can be in the engine's networks: it has
// neither the host's network nor another container's, nor chosen to have none.
func (rec *record) networked() bool { return attachable(networkName(rec.Config, rec.Host)) }

func attachable(network string) bool {
	return network != "host" && network != "none" && !container.NetworkMode(network).IsContainer()
}

// endpoint is the container's in a network, or nil.
func (rec *record) endpoint(network string) *endpoint {
	for i := range rec.Endpoints {
		if rec.Endpoints[i].Network == network {
			return &rec.Endpoints[i]
		}
	}
	return nil
}

// plain says whether the container is in the default network alone.
func (rec *record) plain() bool {
	return len(rec.Endpoints) == 1 && !rec.Endpoints[0].defined()
}

// gateway is the network that a container's way out leads through, and by which
// its ports are published: the one of the highest priority, and of several the
// first by name, as with Docker; empty: none leads out.
func (e *Engine) gateway(list []endpoint) string {
	out := slices.DeleteFunc(slices.Clone(list), func(p endpoint) bool {
		if !p.defined() {
			return false
		}
		n, err := e.networks.Find(p.Network)
		return err != nil || n.Internal
	})
	if len(out) == 0 {
		return ""
	}
	return slices.MinFunc(out, func(a, b endpoint) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.Name, b.Name))
	}).Network
}

// endpoints finds the networks that were asked for, and reads what was asked of
// the places in them. The one of HostConfig is the first.
func (e *Engine) endpoints(rec *record, net *apinetwork.NetworkingConfig) error {
	mode := networkName(rec.Config, rec.Host)
	settings := map[string]*apinetwork.EndpointSettings{}
	if net != nil {
		maps.Copy(settings, net.EndpointsConfig)
	}
	if !attachable(mode) {
		if len(rec.Host.Links) > 0 {
			return invalid("conflicting options: %s type networking can't be used with links. This would result in undefined behavior", mode)
		}
		for name, ep := range settings {
			if name != mode && name != string(rec.Host.NetworkMode) {
				return invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
			}
			if ep == nil {
				continue
			}
			if err := checkUnattached(ep); err != nil {
				return err
			}
		}
		return nil
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(settings)), func(n string) bool { return n == mode })
	for _, name := range append([]string{mode}, names...) {
		p, err := e.placeIn(name)
		if err != nil {
			// Not ErrNotFound: to a create that fails so, clients answer with a pull.
			return invalid("network %s not found; abode network create makes one", name)
		}
		if !attachable(p.Network) {
			return invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
		if rec.endpoint(p.Network) == nil {
			rec.Endpoints = append(rec.Endpoints, p)
		}
		if ep := settings[name]; ep != nil {
			at := rec.endpoint(p.Network)
			if err := at.read(ep); err != nil {
				return err
			}
			if err := e.checkAddress6(*at); err != nil {
				return err
			}
		}
	}
	return e.legacyLinks(rec)
}

// placeIn is a place in the network of a name or an ID.
func (e *Engine) placeIn(network string) (endpoint, error) {
	if network == "default" {
		network = defaultNetwork
	}
	for _, name := range []string{defaultNetwork, "host", "none"} {
		if network == name || network == NetworkID(name) {
			return endpoint{Network: name, Name: name}, nil
		}
	}
	n, err := e.networks.Find(network)
	return endpoint{Network: n.ID, Name: n.Name}, err
}

// read takes over what a client asks of the place.
func (p *endpoint) read(ep *apinetwork.EndpointSettings) error {
	if len(ep.DriverOpts) > 0 {
		return later("a driver option of an endpoint")
	}
	if err := p.link(ep.Links); err != nil {
		return err
	}
	p.Aliases = append(p.Aliases, ep.Aliases...)
	p.Priority = ep.GwPriority
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

// networkRequest says what place the container needs. The links of the host are
// the caller's to add, and the ports where they are published.
func (rec *record) networkRequest(p *endpoint) network.Request {
	return network.Request{
		ID:       rec.ID,
		Hostname: rec.Config.Hostname,
		Names:    rec.dnsNames(p),
		Links:    p.Links,
		MAC:      p.MAC,
		Address:  p.Address,
		Address6: p.Address6,
	}
}

// dnsNames are the names by which others in a network find the container.
func (rec *record) dnsNames(p *endpoint) []string {
	names := []string{rec.Name}
	for _, a := range p.Aliases {
		if !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	return names
}

// networkEvent tells that a container has joined a network, or left it.
func (e *Engine) networkEvent(action events.Action, id string, p *endpoint) {
	e.events.Publish(events.NetworkEventType, action, p.id(), map[string]string{"container": id, "name": p.Name, "type": NetworkDriver})
}
