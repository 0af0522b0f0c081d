package runtime

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
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

// returnLink takes an interface of pid's network namespace back into the
// kernel's own.
func returnLink(name string, pid int) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("cannot open the network namespace of the interface %s: %w", name, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot speak to the network of the interface %s: %w", name, err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetNsPid(link, os.Getpid())
	}
	if err != nil {
		return fmt.Errorf("cannot have the interface %s back: %w", name, err)
	}
	return nil
}

// loopback is the index of lo in every network namespace.
const loopback = 1

func setUpLoopback() error {
	if err := changeLink(loopback); err != nil {
		return fmt.Errorf("cannot set up loopback: %w", err)
	}
	return nil
}

// setUp sets an interface up that is configured later. With some drivers that
// takes long, because memory for what comes in is made ready.
func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = changeLink(link.Attrs().Index)
	}
	if err != nil {
		return fmt.Errorf("cannot set up the interface %s: %w", name, err)
	}
	return nil
}

// setUpLinks configures interfaces of the network namespace that this process
// stands in.
func setUpLinks(links []agent.Link) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE) // one socket for all
	if err != nil {
		return fmt.Errorf("cannot speak to the kernel's network: %w", err)
	}
	defer h.Close()
	for _, l := range links {
		if l.Above {
			err = makeAbove(h, l)
			l.Name = l.NewName
		}
		if err == nil {
			err = setUpLink(h, l)
		}
		if err != nil {
			return fmt.Errorf("cannot set up the interface %s: %w", l.NewName, err)
		}
	}
	return nil
}

// makeAbove makes an interface above a device of this network namespace. What
// comes for other MACs is not passed on between the two: the networks that they
// are in have nothing to do with each other.
func makeAbove(h *netlink.Handle, l agent.Link) error {
	device, err := h.LinkByName(l.Name)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = l.NewName, device.Attrs().Index
	if attrs.HardwareAddr, err = net.ParseMAC(l.MAC); err != nil {
		return errorf(agent.ClassInvalid, "%w", err)
	}
	return h.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE})
}

// changeLink gives an interface attributes and sets it up, all in one message.
func changeLink(index int, attrs ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func setUpLink(h *netlink.Handle, l agent.Link) error {
	link, err := h.LinkByName(l.Name)
	if err != nil {
		return err
	}
	name := l.Name
	var attrs []*nl.RtAttr
	if l.NewName != "" && l.NewName != l.Name {
		name = l.NewName
		attrs = append(attrs, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	if l.MAC != "" {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			return errorf(agent.ClassInvalid, "%w", err)
		}
		attrs = append(attrs, nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
	}
	if l.MTU > 0 {
		attrs = append(attrs, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	index := link.Attrs().Index
	if err := changeLink(index, attrs...); err != nil {
		return fmt.Errorf("cannot call %s %s, with address %q and MTU %d: %w", l.Name, name, l.MAC, l.MTU, err)
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
		if err := h.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot add address %s: %w", a, err)
		}
	}
	return addDefaults(h, index, l.Gateways)
}

// addDefaults makes an interface that of the default routes.
func addDefaults(h *netlink.Handle, index int, gateways []string) error {
	for _, g := range gateways {
		ip := net.ParseIP(g)
		if ip == nil {
			return errorf(agent.ClassInvalid, "gateway %q is not an IP address", g)
		}
		route := netlink.Route{LinkIndex: index, Gw: ip, Scope: netlink.SCOPE_UNIVERSE}
		if err := h.RouteAdd(&route); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot add the default route by %s: %w", g, err)
		}
	}
	return nil
}
