package flags

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bytes is a pflag.Value for a size such as 512m or 1.5g. As a swap limit,
// -1 stands for no limit.
type Bytes int64

// Set reads s.
func (b *Bytes) Set(s string) error {
	if s == "-1" {
		*b = -1
		return nil
	}
	n, err := units.RAMInBytes(s)
	*b = Bytes(n)
	return err
}

func (b *Bytes) String() string {
	if *b <= 0 {
		return strconv.FormatInt(int64(*b), 10)
	}
	return units.BytesSize(float64(*b))
}

// Type names the value in help texts.
func (b *Bytes) Type() string { return "bytes" }

// CPUs is a pflag.Value for a number of CPUs, kept in billionths.
type CPUs int64

// Set reads s, a decimal fraction with at most 9 digits after the point.
func (c *CPUs) Set(s string) error {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return fmt.Errorf("failed to parse %v as a rational number", s)
	}
	nano := r.Mul(r, big.NewRat(1e9, 1))
	if !nano.IsInt() {
		return errors.New("value is too precise")
	}
	if !nano.Num().IsInt64() {
		return errors.New("value is too large")
	}
	*c = CPUs(nano.Num().Int64())
	return nil
}

func (c *CPUs) String() string {
	if *c == 0 {
		return ""
	}
	return big.NewRat(int64(*c), 1e9).FloatString(3)
}

// Type names the value in help texts.
func (c *CPUs) Type() string { return "decimal" }

// Ulimits reads NAME=SOFT[:HARD] values; the last of a name counts.
func Ulimits(values []string) ([]*container.Ulimit, error) {
	var out []*container.Ulimit
next:
	for _, v := range values {
		u, err := units.ParseUlimit(v)
		if err != nil {
			return nil, fmt.Errorf("invalid ulimit %q: %w; expected NAME=SOFT[:HARD]", v, err)
		}
		for i := range out {
			if out[i].Name == u.Name {
				out[i] = u
				continue next
			}
		}
		out = append(out, u)
	}
	return out, nil
}

// Restart reads a policy: no, always, unless-stopped, on-failure[:TIMES].
func Restart(value string) (container.RestartPolicy, error) {
	var p container.RestartPolicy
	if value == "" {
		return p, nil
	}
	name, times, given := strings.Cut(value, ":")
	if name == "" {
		return p, errors.New("invalid restart policy format: no policy provided before colon")
	}
	if given {
		n, err := strconv.Atoi(times)
		if err != nil {
			return p, errors.New("invalid restart policy format: maximum retry count must be an integer")
		}
		p.MaximumRetryCount = n
	}
	p.Name = container.RestartPolicyMode(name)
	return p, container.ValidateRestartPolicy(p)
}

// Hosts reads the values of --add-host: NAME:IP or NAME=IP, the IP perhaps
// in brackets or host-gateway. It returns them as NAME:IP.
func Hosts(values []string) ([]string, error) {
	var out []string
	for _, v := range values {
		name, ip, ok := strings.Cut(v, "=")
		if !ok {
			name, ip, ok = strings.Cut(v, ":")
		}
		if !ok || name == "" {
			return nil, fmt.Errorf("bad format for add-host: %q; expected NAME:IP", v)
		}
		if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
			ip = ip[1 : len(ip)-1]
		}
		if ip != "host-gateway" {
			if _, err := netip.ParseAddr(ip); err != nil {
				return nil, fmt.Errorf("invalid IP address in add-host: %q", ip)
			}
		}
		out = append(out, name+":"+ip)
	}
	return out, nil
}

// Device reads PATH[:PATH_IN_CONTAINER][:PERMISSIONS].
func Device(value string) (container.DeviceMapping, error) {
	d := container.DeviceMapping{CgroupPermissions: "rwm"}
	parts := strings.Split(value, ":")
	switch {
	case parts[0] == "" || len(parts) > 3:
		return d, fmt.Errorf("invalid device specification: %s", value)
	case len(parts) == 3:
		if !devicePermissions(parts[2]) {
			return d, fmt.Errorf("invalid device specification: %s: permissions are some of r, w, m", value)
		}
		d.PathInContainer, d.CgroupPermissions = parts[1], parts[2]
	case len(parts) == 2 && devicePermissions(parts[1]):
		d.CgroupPermissions = parts[1]
	case len(parts) == 2:
		d.PathInContainer = parts[1]
	}
	d.PathOnHost = parts[0]
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	return d, nil
}

func devicePermissions(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == "" && len(s) <= 3
}

// SecurityOptions reads --security-opt: the file that seccomp= names is read
// and sent along, because the engine may not see it; systempaths=unconfined
// is returned apart, as no masked and no read-only paths.
func SecurityOptions(values []string) (options []string, unmasked bool, err error) {
	for _, v := range values {
		if v == "systempaths=unconfined" || v == "systempaths:unconfined" {
			unmasked = true
			continue
		}
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			key, value, ok = strings.Cut(v, ":")
		}
		if !ok && key != "no-new-privileges" {
			return nil, false, fmt.Errorf("invalid --security-opt: %q; expected KEY=VALUE or no-new-privileges", v)
		}
		if key == "seccomp" && value != "unconfined" && value != "builtin" {
			data, err := os.ReadFile(value)
			if err != nil {
				return nil, false, fmt.Errorf("cannot read the seccomp profile: %w", err)
			}
			var b bytes.Buffer
			if err := json.Compact(&b, data); err != nil {
				return nil, false, fmt.Errorf("cannot read the seccomp profile %s as JSON: %w", value, err)
			}
			v = "seccomp=" + b.String()
		}
		options = append(options, v)
	}
	return options, unmasked, nil
}

// Platform reads OS[/ARCH[/VARIANT]] or ARCH; "" gives nil.
func Platform(value string) (*ocispec.Platform, error) {
	if value == "" {
		return nil, nil
	}
	parts := strings.Split(strings.ToLower(value), "/")
	for _, p := range parts {
		if p == "" || len(parts) > 3 {
			return nil, fmt.Errorf("invalid platform %q; expected OS/ARCH[/VARIANT], such as linux/arm64", value)
		}
	}
	if len(parts) == 1 && parts[0] != "linux" {
		parts = []string{"linux", parts[0]}
	}
	p := &ocispec.Platform{OS: parts[0]}
	if len(parts) > 1 {
		p.Architecture = parts[1]
	}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return p, nil
}

// Filters reads the NAME=VALUE pairs of --filter.
func Filters(values []string) (map[string]map[string]bool, error) {
	out := map[string]map[string]bool{}
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, fmt.Errorf("invalid filter '%s'; expected NAME=VALUE", v)
		}
		key = strings.ToLower(strings.TrimSpace(key))
		if out[key] == nil {
			out[key] = map[string]bool{}
		}
		out[key][strings.TrimSpace(value)] = true
	}
	return out, nil
}
