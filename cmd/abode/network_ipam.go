package main

import (
	"fmt"
	"net/netip"

	"github.com/moby/moby/api/types/network"
)

// ipam puts ranges and gateways to the subnets that they lie in. It is nil
// when nothing is asked for.
func ipam(subnets, ranges, gateways []string) (*network.IPAM, error) {
	if len(subnets) < len(ranges) || len(subnets) < len(gateways) {
		return nil, fmt.Errorf("every ip-range or gateway must have a corresponding subnet; give --subnet too")
	}
	if len(subnets) == 0 {
		return nil, nil
	}
	var list []network.IPAMConfig
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("invalid argument %q for --subnet: expected a subnet such as 10.9.0.0/24", s)
		}
		if _, ok := within(list, p.Addr()); ok {
			return nil, fmt.Errorf("multiple overlapping subnet configuration is not supported")
		}
		list = append(list, network.IPAMConfig{Subnet: p})
	}
	for _, s := range ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("invalid argument %q for --ip-range: expected a subnet such as 10.9.0.128/25", s)
		}
		i, ok := within(list, p.Addr())
		if !ok {
			return nil, fmt.Errorf("no matching subnet for range %s", s)
		}
		if have := list[i].IPRange; have.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", s, have, list[i].Subnet)
		}
		list[i].IPRange = p
	}
	for _, s := range gateways {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("invalid argument %q for --gateway: expected an address of the subnet", s)
		}
		i, ok := within(list, a)
		if !ok {
			return nil, fmt.Errorf("no matching subnet for gateway %s", s)
		}
		if have := list[i].Gateway; have.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", s, have, list[i].Subnet)
		}
		list[i].Gateway = a
	}
	return &network.IPAM{Driver: "default", Config: list}, nil
}

// within finds the subnet that an address lies in.
func within(list []network.IPAMConfig, a netip.Addr) (int, bool) {
	for i, c := range list {
		if c.Subnet.Contains(a) {
			return i, true
		}
	}
	return 0, false
}
