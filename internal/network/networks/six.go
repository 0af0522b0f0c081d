package networks

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/network"
)

// choose6 chooses what spec leaves open of a network's IPv6.
func (s *Store) choose6(spec *Spec, others []netip.Prefix) error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return fmt.Errorf("cannot make an IPv6 network: this host's kernel has no IPv6, or it is off (ipv6.disable=1); leave --ipv6 out: %w", errdefs.ErrFailedPrecondition)
	}
	subnet, clash, err := network.FreeSubnet6(spec.Subnet6, append(s.Subnets(), others...))
	if err != nil {
		return err
	}
	if clash.IsValid() {
		return overlaps(subnet, clash)
	}
	spec.Subnet6 = subnet
	if !spec.Gateway6.IsValid() {
		spec.Gateway6 = subnet.Addr().Next()
	}
	return nil
}

func overlaps(subnet, clash netip.Prefix) error {
	return refuse(errdefs.ErrPermissionDenied, "invalid pool request: Pool overlaps with other one on this address space: %s overlaps %s, which another network or the host uses", subnet, clash)
}
