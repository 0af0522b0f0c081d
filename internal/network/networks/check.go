package networks

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Bounds of what a client may have kept.
const (
	maxNetworks = 1024
	maxLabels   = 64 << 10 // bytes of all labels of a network
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`)

// refusal is an error of one of errdefs' classes whose text is Docker's own.
type refusal struct {
	class error
	text  string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.class }

func refuse(class error, format string, args ...any) error {
	return &refusal{class, fmt.Sprintf(format, args...)}
}

// check validates what can be known to be wrong by itself.
func (s *Spec) check() error {
	switch s.Name {
	case "":
		return refuse(errdefs.ErrInvalidArgument, "network name cannot be empty")
	case "bridge", "host", "none", "default":
		return refuse(errdefs.ErrPermissionDenied, "operation is not permitted on predefined %s network", s.Name)
	}
	if !validName.MatchString(s.Name) {
		return refuse(errdefs.ErrInvalidArgument, "invalid network name: %q: it needs letters, digits and _.- and a letter or digit first, 255 at most", s.Name)
	}
	size := 0
	for k, v := range s.Labels {
		size += len(k) + len(v)
	}
	if size > maxLabels {
		return refuse(errdefs.ErrInvalidArgument, "cannot keep the labels of network %s: they may have %d bytes in all", s.Name, maxLabels)
	}
	for k, v := range s.Options {
		if err := checkOption(k, v); err != nil {
			return err
		}
	}
	return s.checkSubnet()
}

// harmless are options that may be given with the value that holds anyway.
var harmless = map[string]string{
	"com.docker.network.bridge.enable_icc":           "true",
	"com.docker.network.bridge.enable_ip_masquerade": "true",
	"com.docker.network.bridge.host_binding_ipv4":    "0.0.0.0",
	"com.docker.network.bridge.default_bridge":       "false",
	"com.docker.network.enable_ipv4":                 "true",
	"com.docker.network.enable_ipv6":                 "false",
	"com.docker.network.bridge.gateway_mode_ipv4":    "nat",
	"com.docker.network.bridge.gateway_mode_ipv6":    "nat",
}

func checkOption(key, value string) error {
	if fixed, ok := harmless[key]; ok && strings.EqualFold(value, fixed) {
		return nil
	}
	hint := "leave the option out"
	if key == "com.docker.network.bridge.name" {
		hint = "the engine names bridges; the name ends with the first 8 digits of the network's ID"
	}
	return refuse(errdefs.ErrInvalidArgument, "network option %s=%s is not supported: %s", key, value, hint)
}

func (s *Spec) checkSubnet() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	four := pool{s.Subnet, s.Gateway, s.Range}
	if p := s.Subnet; p.IsValid() && !p.Addr().Is4() {
		add("invalid subnet %s: only IPv4 is supported without --ipv6", p)
	} else {
		four.check(8, 29, noHosts, add)
	}
	if s.IPv6 {
		pool{s.Subnet6, s.Gateway6, s.Range6}.check(8, 126, noHosts6, add)
	}
	if len(errs) == 0 {
		return nil
	}
	return refuse(errdefs.ErrInvalidArgument, "invalid network config:\n%s", errors.Join(errs...))
}

// Where no subnet of hosts can lie.
var (
	noHosts  = prefixes("127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8")
	noHosts6 = prefixes("::/8", "fe80::/10", "ff00::/8")
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// pool is what is asked of one family's addresses.
type pool struct {
	subnet  netip.Prefix
	gateway netip.Addr
	choice  netip.Prefix
}

func (o pool) check(widest, narrowest int, never []netip.Prefix, add func(string, ...any)) {
	switch p := o.subnet; {
	case p == (netip.Prefix{}):
		if o.gateway.IsValid() || o.choice != (netip.Prefix{}) {
			add("no subnet: a gateway or a range of addresses lies in one; give --subnet too")
		}
	case !p.IsValid():
		add("invalid subnet %s: invalid CIDR block notation", p)
	case p != p.Masked():
		add("invalid subnet %s: it should be %s", p, p.Masked())
	case p.Bits() < widest || p.Bits() > narrowest:
		add("invalid subnet %s: it must be of /%d to /%d", p, widest, narrowest)
	case slices.ContainsFunc(never, p.Overlaps):
		add("invalid subnet %s: it is not one for hosts", p)
	default:
		if g := o.gateway; g.IsValid() && (!p.Contains(g) || g == p.Addr()) {
			add("invalid gateway %s: parent subnet %s doesn't contain this address", g, p)
		}
		switch r := o.choice; {
		case r == (netip.Prefix{}):
		case !r.IsValid() || !p.Contains(r.Addr()):
			add("invalid ip-range %s: parent subnet %s doesn't contain ip-range", r, p)
		case r.Bits() < p.Bits():
			add("invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, p)
		case r != r.Masked():
			add("invalid ip-range %s: it should be %s", r, r.Masked())
		}
	}
}
