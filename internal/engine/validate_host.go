package engine

import (
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/kernel"
)

func checkDevices(h *container.HostConfig, can kernel.Capabilities, wall kernel.Isolation) error {
	if len(h.Devices) > 0 && !can.HostDevices {
		return invalid("cannot use --device with isolation %q: the host's devices are not the container's kernel's; use --isolation container", wall)
	}
	for _, d := range h.Devices {
		if !path.IsAbs(d.PathOnHost) || (d.PathInContainer != "" && !path.IsAbs(d.PathInContainer)) {
			return invalid("invalid device %s: paths must be absolute", d.PathOnHost)
		}
		if strings.Trim(d.CgroupPermissions, "rwm") != "" {
			return invalid("invalid device mode: %s", d.CgroupPermissions)
		}
	}
	return nil
}

// security is what HostConfig.SecurityOpt says.
type security struct {
	NoNewPrivileges bool
	Unconfined      bool   // no seccomp
	Profile         string // of seccomp, JSON; empty: the default
}

// parseSecurity reads the options as Docker's daemon gets them: the client has
// put a profile's text in the place of its file's name. A privileged container
// has a filter only if one is named.
func parseSecurity(h *container.HostConfig) (security, error) {
	s := security{Unconfined: h.Privileged}
	for _, opt := range h.SecurityOpt {
		if opt == "no-new-privileges" {
			s.NoNewPrivileges = true
			continue
		}
		key, value, ok := strings.Cut(opt, "=")
		if !ok {
			key, value, ok = strings.Cut(opt, ":")
		}
		if !ok {
			return s, invalid("invalid --security-opt 1: %q", opt)
		}
		switch key {
		case "no-new-privileges":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return s, invalid("invalid --security-opt 2: %q", opt)
			}
			s.NoNewPrivileges = on
		case "seccomp":
			switch value {
			case "unconfined":
				s.Unconfined, s.Profile = true, ""
			case "builtin":
				s.Unconfined, s.Profile = false, ""
			default:
				s.Unconfined, s.Profile = false, value
			}
		case "apparmor":
			if value != "unconfined" {
				return s, later("AppArmor profile %s", value)
			}
		case "label":
			if value != "disable" {
				return s, later("SELinux label %s", value)
			}
		default:
			return s, invalid("invalid --security-opt 2: %q", opt)
		}
	}
	return s, nil
}

func checkSecurity(h *container.HostConfig) error {
	s, err := parseSecurity(h)
	if err != nil {
		return err
	}
	caps, err := capabilities(h)
	if err != nil {
		return err
	}
	if _, err := seccompProgram(s, caps); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// checkSysctls takes those alone that belong to a namespace of the container.
func checkSysctls(h *container.HostConfig) error {
	for name := range h.Sysctls {
		dotted := strings.ReplaceAll(name, "/", ".")
		ok := false
		switch {
		case strings.Contains(dotted, ".."):
		case strings.HasPrefix(dotted, "net."):
			if h.NetworkMode == "host" {
				return invalid("sysctl %q not allowed in host network namespace", name)
			}
			ok = true
		case strings.HasPrefix(dotted, "fs.mqueue."), strings.HasPrefix(dotted, "kernel.shm"), strings.HasPrefix(dotted, "kernel.msg"), dotted == "kernel.sem":
			if h.IpcMode.IsHost() {
				return invalid("sysctl %q not allowed in host ipc namespace", name)
			}
			ok = true
		}
		if !ok {
			return invalid("sysctl %q is not in a separate kernel namespace", name)
		}
	}
	return nil
}

// hostGateway stands for the host's address as containers reach it.
const hostGateway = "host-gateway"

func checkHosts(h *container.HostConfig) error {
	for _, e := range h.ExtraHosts {
		host, addr, ok := cutHost(e)
		if !ok || host == "" || strings.ContainsAny(host, " \t\n\r#") {
			return invalid("bad format for add-host: %q", e)
		}
		if addr == hostGateway {
			continue
		}
		if _, err := netip.ParseAddr(addr); err != nil {
			return invalid("invalid IP address in add-host: %q", addr)
		}
	}
	for _, s := range append(append([]string{}, h.DNSSearch...), h.DNSOptions...) {
		if strings.ContainsAny(s, " \t\n\r#") {
			return invalid("invalid DNS option or search domain: %q", s)
		}
	}
	return nil
}

// cutHost splits host:addr or host=addr; the address may be in brackets.
func cutHost(s string) (host, addr string, ok bool) {
	if host, addr, ok = strings.Cut(s, "="); !ok {
		host, addr, ok = strings.Cut(s, ":")
	}
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		addr = addr[1 : len(addr)-1]
	}
	return host, addr, ok
}

func checkPorts(h *container.HostConfig) error {
	for port, bindings := range h.PortBindings {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
		if p := port.Proto(); p != network.TCP && p != network.UDP {
			return later("publishing a port of protocol %s", p)
		}
		for _, b := range bindings {
			if _, _, err := hostPorts(b.HostPort); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostPorts reads a host port, or a range of which one is to be chosen; last
// is 0 without a range. Empty and 0 mean any.
func hostPorts(s string) (first, last uint16, err error) {
	if s == "" {
		return 0, 0, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || b < a || isRange && a == 0 {
		return 0, 0, invalid("invalid port specification: %q", s)
	}
	if a == b {
		b = 0
	}
	return uint16(a), uint16(b), nil
}

// checkUnattached refuses what is asked of a place in a network by who has none:
// the host's, another container's, or no network at all.
func checkUnattached(ep *network.EndpointSettings) error {
	switch a := ep.IPAMConfig; {
	case len(ep.Aliases) > 0:
		return invalid("network-scoped aliases are only supported for user-defined networks")
	case a != nil && (a.IPv4Address.IsValid() || a.IPv6Address.IsValid() || len(a.LinkLocalIPs) > 0):
		return invalid("user specified IP address is supported on user defined networks only")
	case len(ep.MacAddress) > 0:
		return invalid("conflicting options: mac-address and the network mode")
	case len(ep.Links) > 0:
		return invalid("conflicting options: links and the network mode")
	case len(ep.DriverOpts) > 0:
		return invalid("conflicting options: driver options and the network mode")
	}
	return nil
}
