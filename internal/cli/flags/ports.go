package flags

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/moby/api/types/network"
)

// Ports reads the values of -p and --expose: `[[IP:][HOST]:]PORT[/PROTO]`
// with ranges, or `target=80,published=8080,protocol=tcp`. It returns the
// ports to expose and where each is published; an empty host port lets the
// engine choose.
func Ports(publish, expose []string) (network.PortSet, network.PortMap, error) {
	set, bindings := network.PortSet{}, network.PortMap{}
	for _, p := range publish {
		if strings.Contains(p, "=") {
			short, err := longPort(p)
			if err != nil {
				return nil, nil, err
			}
			p = short
		}
		mappings, err := nat.ParsePortSpec(p)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid port to publish %q: %w; expected [[IP:][HOSTPORT]:]PORT[/PROTOCOL]", p, err)
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				return nil, nil, err
			}
			b := network.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if b.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, nil, fmt.Errorf("invalid IP address: %s", m.Binding.HostIP)
				}
			}
			set[port] = struct{}{}
			bindings[port] = append(bindings[port], b)
		}
	}
	for _, e := range expose {
		if strings.Contains(e, ":") {
			return nil, nil, fmt.Errorf("invalid port format for --expose: %s; use -p to publish a port", e)
		}
		r, err := network.ParsePortRange(e)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid range format for --expose: %w", err)
		}
		for port := range r.All() {
			set[port] = struct{}{}
		}
	}
	return set, bindings, nil
}

// longPort turns target=,published=,protocol= into the short form.
func longPort(value string) (string, error) {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return "", fmt.Errorf("invalid port to publish %q: %w", value, err)
	}
	var target, published, proto string
	for _, f := range fields {
		key, v, ok := strings.Cut(f, "=")
		if !ok || v == "" {
			return "", fmt.Errorf("invalid field %q in port %q: expected KEY=VALUE", f, value)
		}
		switch strings.ToLower(key) {
		case "target":
			target = v
		case "published":
			published = v
		case "protocol":
			proto = v
		case "mode": // ingress or host: means something to Swarm alone
		default:
			return "", fmt.Errorf("invalid field key %q in port %q; use target, published, protocol", key, value)
		}
	}
	if target == "" {
		return "", fmt.Errorf("invalid port to publish %q: target is missing", value)
	}
	short := published + ":" + target
	if proto != "" {
		short += "/" + proto
	}
	return short, nil
}
