package engine

import (
	"fmt"
	"net/netip"
	"strings"
)

// checkAddress6 refuses an IPv6 address in a network without.
func (e *Engine) checkAddress6(p endpoint) error {
	if !p.Address6.IsValid() {
		return nil
	}
	if p.defined() {
		if n, err := e.networks.Find(p.Network); err == nil && n.IPv6 {
			return nil
		}
	}
	return invalid("cannot give the container the address %s: network %s has no IPv6; name one that is made with --ipv6, or leave --ip6 out", p.Address6, p.Name)
}

// asAsked says whether a container has the addresses that its user named, if any:
// the network gives others when it cannot give those.
func (p endpoint) asAsked(have []string) error {
	if err := hasAddress(p.Address, "--ip", have); err != nil {
		return err
	}
	return hasAddress(p.Address6, "--ip6", have)
}

func hasAddress(want netip.Addr, flag string, have []string) error {
	if !want.IsValid() {
		return nil
	}
	var subnets []string
	for _, h := range have {
		p, err := netip.ParsePrefix(h)
		if err != nil {
			return fmt.Errorf("cannot read the address that the network gave: %w", err)
		}
		if p.Addr() == want {
			return nil
		}
		if p.Addr().Is4() == want.Is4() {
			subnets = append(subnets, p.Masked().String())
		}
	}
	return conflict("cannot give the container the address %s: it is taken, or not one that a container may have in %s; name another with %s, or none", want, strings.Join(subnets, ", "), flag)
}
