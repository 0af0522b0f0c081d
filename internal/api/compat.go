package api

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
)

// upgrade turns a create request of an older version into one of the newest.
func (req *createRequest) upgrade(v apiVersion) error {
	if v.before(44) && req.Healthcheck != nil {
		req.Healthcheck.StartInterval = 0
	}
	if v.before(42) {
		req.HostConfig.ConsoleSize = [2]uint{}
	}
	if v.before(43) {
		req.HostConfig.Annotations = nil
	}
	if req.MacAddress == "" || !v.before(52) {
		return nil
	}
	mac, err := net.ParseMAC(req.MacAddress)
	if err != nil {
		return invalid(fmt.Sprintf("invalid MAC address %q: %v", req.MacAddress, err))
	}
	name := string(req.HostConfig.NetworkMode)
	if name == "" || name == network.NetworkDefault {
		name = network.NetworkBridge
	}
	for known := range req.NetworkingConfig.EndpointsConfig {
		if known == network.NetworkDefault && name == network.NetworkBridge {
			name = known
		}
	}
	if req.NetworkingConfig.EndpointsConfig == nil {
		req.NetworkingConfig.EndpointsConfig = map[string]*network.EndpointSettings{}
	}
	ep := req.NetworkingConfig.EndpointsConfig[name]
	if ep == nil {
		ep = &network.EndpointSettings{}
		req.NetworkingConfig.EndpointsConfig[name] = ep
	}
	if len(ep.MacAddress) > 0 && ep.MacAddress.String() != mac.String() {
		return invalid("conflicting MAC addresses: the container-wide one must match that of its network")
	}
	ep.MacAddress = network.HardwareAddr(mac)
	return nil
}

// inspect and networkSettings are a container as API versions before 1.52
// show it: the addresses in the default network stand beside the networks too.
type inspect struct {
	container.InspectResponse
	NetworkSettings *networkSettings
}

type networkSettings struct {
	*container.NetworkSettings
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []struct{}
	SecondaryIPv6Addresses []struct{}
	EndpointID             string
	Gateway                netip.Addr
	GlobalIPv6Address      netip.Addr
	GlobalIPv6PrefixLen    int
	IPAddress              netip.Addr
	IPPrefixLen            int
	IPv6Gateway            netip.Addr
	MacAddress             string
}

func oldInspect(c container.InspectResponse) inspect {
	old := inspect{InspectResponse: c}
	if c.NetworkSettings == nil {
		return old
	}
	old.NetworkSettings = &networkSettings{NetworkSettings: c.NetworkSettings}
	if ep := c.NetworkSettings.Networks[network.NetworkBridge]; ep != nil {
		n := old.NetworkSettings
		n.EndpointID, n.Gateway, n.IPv6Gateway = ep.EndpointID, ep.Gateway, ep.IPv6Gateway
		n.IPAddress, n.IPPrefixLen = ep.IPAddress, ep.IPPrefixLen
		n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen
		n.MacAddress = ep.MacAddress.String()
	}
	return old
}

// shortAliases adds the short ID to the aliases in networks that users have
// made, as versions before 1.45 have it: docker-compose 1 asks for it.
func shortAliases(c container.InspectResponse) {
	if c.NetworkSettings == nil || len(c.ID) < 12 {
		return
	}
	for name, ep := range c.NetworkSettings.Networks {
		switch name {
		case network.NetworkBridge, network.NetworkHost, network.NetworkNone:
		default:
			ep.Aliases = append(slices.Clone(ep.Aliases), c.ID[:12])
		}
	}
}

// imageSummary is an image in a list as versions before 1.44 show it.
type imageSummary struct {
	image.Summary
	VirtualSize int64
}

func oldImages(list []image.Summary) []imageSummary {
	old := make([]imageSummary, len(list))
	for i, sum := range list {
		old[i] = imageSummary{sum, sum.Size}
	}
	return old
}

// event is an event as versions before 1.52 show it.
type event struct {
	events.Message
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
}

// oldEvent fills the fields that events had when there were none but those of
// containers and images.
func oldEvent(m events.Message) event {
	e := event{Message: m}
	switch m.Type {
	case events.ContainerEventType:
		e.Status, e.ID, e.From = string(m.Action), m.Actor.ID, m.Actor.Attributes["image"]
	case events.ImageEventType:
		e.Status, e.ID = string(m.Action), m.Actor.ID
	}
	return e
}
