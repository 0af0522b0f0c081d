package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// minMTU6 is what IPv6 demands of a link (RFC 8200).
const minMTU6 = 1280

// checkSubnet6 refuses a subnet that the host has come to use otherwise. index
// is the bridge's, 0 when there is none. Containers that run keep theirs.
func (n *Network) checkSubnet6(index int) error {
	if !n.cfg.six() || len(n.ledger.all()) > 0 {
		return nil
	}
	used, err := usedPrefixes6(index)
	if err != nil {
		return err
	}
	_, err = chooseSubnet(n.cfg.Subnet6, n.cfg.Subnet6, append(used, n.cfg.reserved()...))
	return err
}

// setBridge6 gives the bridge IPv6 and its address, or neither.
func (n *Network) setBridge6(link netlink.Link) error {
	name := n.cfg.Bridge
	if !n.cfg.six() {
		// A kernel without IPv6 has nothing to turn off.
		_ = writeSysctl("1", "ipv6", "conf", name, "disable_ipv6")
		return nil
	}
	for _, s := range []struct{ key, value string }{
		{"accept_ra", "0"}, // the bridge is the router
		{"accept_redirects", "0"},
		{"accept_dad", "0"}, // no port can have its addresses
		{"disable_ipv6", "0"},
	} {
		err := writeSysctl(s.value, "ipv6", "conf", name, s.key)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot set up an IPv6 network: this host's kernel has no IPv6, or it is off (ipv6.disable=1): %w", err)
		}
		if err != nil {
			return err
		}
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("cannot list the IPv6 addresses of bridge %s: %w", name, err)
	}
	want := &net.IPNet{IP: n.cfg.gateway6().AsSlice(), Mask: net.CIDRMask(n.cfg.Subnet6.Bits(), 128)}
	have := false
	for _, a := range addrs {
		if a.IPNet.String() == want.String() {
			have = true
		} else if !a.IP.IsLinkLocalUnicast() {
			if err := netlink.AddrDel(link, &a); err != nil {
				return fmt.Errorf("cannot remove address %s of bridge %s: %w", a.IPNet, name, err)
			}
		}
	}
	if have {
		return nil
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: want, Flags: unix.IFA_F_NODAD}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot give bridge %s the address %s: %w", name, want, err)
	}
	return nil
}
