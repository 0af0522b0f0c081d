package runtime

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// moveLink gives an interface of this kernel's own network namespace to pid's.
func moveLink(name string, pid int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("cannot find the interface %s: %w", name, err)
	}
	if err := netlink.LinkSetNsPid(link, pid); err != nil {
		return fmt.Errorf("cannot move the interface %s into the container: %w", name, err)
	}
	return nil
}

// setUpLinks configures the network namespace that this process stands in.
func setUpLinks(links []agent.Link) error {
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("cannot set up loopback: %w", err)
		}
	}
	for _, l := range links {
		if err := setUpLink(l); err != nil {
			return fmt.Errorf("cannot set up the interface %s: %w", l.NewName, err)
		}
	}
	return nil
}

func setUpLink(l agent.Link) error {
	link, err := netlink.LinkByName(l.Name)
	if err != nil {
		return err
	}
	if l.NewName != "" && l.NewName != l.Name {
		if err := netlink.LinkSetName(link, l.NewName); err != nil {
			return fmt.Errorf("cannot rename %s: %w", l.Name, err)
		}
	}
	if l.MAC != "" {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			return errorf(agent.ClassInvalid, "%w", err)
		}
		if err := netlink.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("cannot set the address %s: %w", l.MAC, err)
		}
	}
	if l.MTU > 0 {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("cannot set MTU %d: %w", l.MTU, err)
		}
	}
	name := l.NewName
	if name == "" {
		name = l.Name
	}
	for _, a := range l.Addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return errorf(agent.ClassInvalid, "address %q: %w", a, err)
		}
		if addr.IP.To4() == nil {
			// The network chose it; nobody else has it, and waiting for the
			// answer that it is free delays the workload's first connection.
			addr.Flags |= unix.IFA_F_NODAD
			// Where IPv6 stays off, adding the address tells.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+strings.ReplaceAll(name, "/", "")+"/disable_ipv6", []byte("0"), 0)
		}
		if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot add address %s: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, g := range l.Gateways {
		ip := net.ParseIP(g)
		if ip == nil {
			return errorf(agent.ClassInvalid, "gateway %q is not an IP address", g)
		}
		route := netlink.Route{LinkIndex: link.Attrs().Index, Gw: ip, Scope: netlink.SCOPE_UNIVERSE}
		if err := netlink.RouteAdd(&route); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot add the default route by %s: %w", g, err)
		}
	}
	return nil
}
