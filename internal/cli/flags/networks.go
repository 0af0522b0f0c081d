package flags

import (
	"encoding/csv"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// Endpoint is a container's place in a network, as flags describe it.
type Endpoint struct {
	Aliases, Links []string
	IP, IP6, MAC   string
	Priority       int
}

// Settings are those of the API; nil when nothing is asked.
func (e Endpoint) Settings() (*network.EndpointSettings, error) {
	s := &network.EndpointSettings{Aliases: e.Aliases, Links: e.Links, GwPriority: e.Priority}
	var ipam network.EndpointIPAMConfig
	for _, a := range []struct {
		value, flag string
		six         bool
		to          *netip.Addr
	}{{e.IP, "--ip", false, &ipam.IPv4Address}, {e.IP6, "--ip6", true, &ipam.IPv6Address}} {
		if a.value == "" {
			continue
		}
		ip, err := netip.ParseAddr(a.value)
		if err != nil || ip.Is4() == a.six {
			return nil, fmt.Errorf("invalid address %q for %s", a.value, a.flag)
		}
		*a.to, s.IPAMConfig = ip, &ipam
	}
	if e.MAC != "" {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			return nil, fmt.Errorf("invalid MAC address %q: expected 6 bytes such as 02:42:ac:11:00:02", e.MAC)
		}
		s.MacAddress = network.HardwareAddr(mac)
	}
	if s.IPAMConfig == nil && s.MacAddress == nil && len(s.Aliases) == 0 && len(s.Links) == 0 && s.GwPriority == 0 {
		return nil, nil
	}
	return s, nil
}

// Networks reads the values of --network, and returns the first one's name and
// what is asked of each. first is what other flags ask of the first. Values are
// names, or comma-separated KEY=VALUE fields as those of `docker run --network`.
func Networks(values []string, first Endpoint) (name string, all map[string]*network.EndpointSettings, err error) {
	if len(values) == 0 {
		values = []string{network.NetworkDefault}
	}
	all = map[string]*network.EndpointSettings{}
	for i, v := range values {
		e := Endpoint{}
		if i == 0 {
			e = first
		}
		n, err := networkFields(v, &e)
		if err != nil {
			return "", nil, err
		}
		settings, err := e.Settings()
		if err != nil {
			return "", nil, err
		}
		key := n
		if n == network.NetworkDefault {
			key = network.NetworkBridge
		}
		if i == 0 {
			name = n
		}
		if _, twice := all[key]; twice {
			return "", nil, fmt.Errorf("network %q is specified multiple times", n)
		}
		if settings == nil && i > 0 {
			settings = &network.EndpointSettings{}
		}
		all[key] = settings
	}
	if len(all) == 1 {
		for key, s := range all {
			if s == nil {
				delete(all, key)
			}
		}
	}
	return name, all, nil
}

// networkFields reads one value of --network into e.
func networkFields(value string, e *Endpoint) (name string, err error) {
	if !strings.Contains(value, "=") {
		return value, nil
	}
	fields, err := csv.NewReader(strings.NewReader(strings.TrimSpace(value))).Read()
	if err != nil {
		return "", fmt.Errorf("invalid network %q: %w; expected KEY=VALUE[,KEY=VALUE...]", value, err)
	}
	for _, f := range fields {
		key, v, ok := strings.Cut(f, "=")
		if !ok || v == "" {
			return "", fmt.Errorf("invalid field '%s' must be a key=value pair", f)
		}
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "name":
			name = v
		case "alias":
			e.Aliases = append(e.Aliases, v)
		case "ip":
			e.IP = v
		case "ip6":
			e.IP6 = v
		case "mac-address":
			e.MAC = v
		case "gw-priority":
			if e.Priority, err = strconv.Atoi(v); err != nil {
				return "", fmt.Errorf("invalid gw-priority %q: it is a number", v)
			}
		default:
			return "", fmt.Errorf("invalid field key %s in --network: there are name, alias, ip, ip6, mac-address and gw-priority", key)
		}
	}
	if name == "" {
		return "", fmt.Errorf("network name is not specified in %q", value)
	}
	return name, nil
}
