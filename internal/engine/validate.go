package engine

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// hostnameRE is what Docker takes as a host name.
var hostnameRE = regexp.MustCompile(`^([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-_.]*[a-zA-Z0-9])$`)

// checkConfig validates what a container is to run, after the merge.
func checkConfig(c *container.Config) error {
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", c.WorkingDir)
	}
	for _, e := range c.Env {
		if e == "" || strings.HasPrefix(e, "=") {
			return invalid("invalid environment variable: %s", e)
		}
		if strings.ContainsRune(e, 0) {
			return invalid("invalid environment variable: %q", e)
		}
	}
	for _, arg := range append(append([]string{}, c.Entrypoint...), c.Cmd...) {
		if strings.ContainsRune(arg, 0) {
			return invalid("invalid argument: %q", arg)
		}
	}
	if len(c.Hostname) > 63 {
		return invalid("invalid hostname: %s: it may have 63 characters at most", c.Hostname)
	}
	if c.Hostname != "" && !hostnameRE.MatchString(c.Hostname) {
		return invalid("invalid hostname format: %s", c.Hostname)
	}
	if c.Domainname != "" && !hostnameRE.MatchString(c.Domainname) {
		return invalid("invalid domain name format: %s", c.Domainname)
	}
	if c.StopSignal != "" {
		if _, err := parseSignal(c.StopSignal); err != nil {
			return err
		}
	}
	return nil
}

// checkHost validates HostConfig against what an isolation can do, fills in
// defaults and returns warnings. What this version does not do is refused.
func checkHost(c *container.Config, h *container.HostConfig, can kernel.Capabilities, wall kernel.Isolation) ([]string, error) {
	checks := []func() error{
		func() error { return checkUnsupported(h) },
		func() error { return checkLogs(h.LogConfig) },
		func() error { return checkModes(c, h, can, wall) },
		func() error { return checkDevices(h, can, wall) },
		func() error { return checkSecurity(h) },
		func() error { return checkSysctls(h) },
		func() error { return checkHosts(h) },
		func() error { return checkPorts(h) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return nil, err
		}
	}
	var warnings []string
	if n := networkName(c, h); (n == "none" || n == "host") && (len(h.PortBindings) > 0 || h.PublishAllPorts) {
		warnings = append(warnings, fmt.Sprintf("Published ports are discarded when using %s network mode", n))
	}
	more, err := checkResources(&h.Resources, wall)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	if more, err = checkLimits(&h.Resources, can.Limits, wall); err != nil {
		return nil, err
	}
	if h.ShmSize < 0 {
		return nil, invalid("SHM size can not be less than 0")
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if h.OomScoreAdj < -1000 || h.OomScoreAdj > 1000 {
		return nil, invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", h.OomScoreAdj)
	}
	return append(warnings, more...), nil
}

// checkUnsupported refuses what is Docker's and not Abode's, or not yet.
func checkUnsupported(h *container.HostConfig) error {
	if err := checkRestartPolicy(h.RestartPolicy); err != nil {
		return err
	}
	if h.AutoRemove && !h.RestartPolicy.IsNone() {
		return invalid("can't create 'AutoRemove' container with restart policy")
	}
	r := &h.Resources
	for _, u := range []struct {
		set  bool
		what string // singular: "is not supported" follows
		hint string
	}{
		{h.Cgroup != "", "joining another container's cgroup", ""},
		{r.CgroupParent != "", "--cgroup-parent", ""},
		{len(h.StorageOpt) > 0, "--storage-opt", ""},
		{h.VolumeDriver != "" && h.VolumeDriver != "local", "volume driver " + h.VolumeDriver, "mount what you need on the host and give the container its path"},
		{h.Runtime != "" && h.Runtime != "abode", "runtime " + h.Runtime, "choose with --isolation"},
		{h.Umask != nil, "an initial umask", ""},
		{r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0, "real-time scheduling (--cpu-rt-runtime)", ""},
		{len(r.DeviceRequests) > 0, "a device request such as --gpus", "name the device files with --device"},
		{r.CPUCount != 0 || r.CPUPercent != 0 || r.IOMaximumIOps != 0 || r.IOMaximumBandwidth != 0, "a limit of Windows containers", ""},
	} {
		switch {
		case u.set && u.hint != "":
			return instead(u.hint, "%s", u.what)
		case u.set:
			return later("%s", u.what)
		}
	}
	return nil
}

// checkModes validates which of the host's namespaces are shared.
func checkModes(c *container.Config, h *container.HostConfig, can kernel.Capabilities, wall kernel.Isolation) error {
	refuse := func(option string) error {
		return invalid("cannot use %s with isolation %q: the container has a kernel of its own, and nothing to share with the host or with other containers; use --isolation container", option, wall)
	}
	switch n := h.NetworkMode; {
	case n == "" || n.IsDefault() || n == "bridge" || n.IsNone():
	case n == "host":
		if !can.HostNetwork {
			return refuse("--network host")
		}
		if c.Hostname != "" {
			break // Docker takes it too: the host name is of another namespace
		}
	case n.IsContainer():
		if !can.HostNamespaces {
			return refuse("--network container:NAME")
		}
	} // what else it may be, only the engine knows: see endpoints
	switch p := h.PidMode; {
	case p == "":
	case p.IsHost():
		if !can.HostNamespaces {
			return refuse("--pid host")
		}
	case p.IsContainer() && p.Valid():
		if !can.HostNamespaces {
			return refuse("--pid container:NAME")
		}
	default:
		return invalid("invalid PID mode: %s", p)
	}
	switch i := h.IpcMode; {
	case i.IsEmpty() || i.IsPrivate() || i.IsShareable() || i.IsNone():
	case i.IsHost():
		if !can.HostNamespaces {
			return refuse("--ipc host")
		}
	case i.IsContainer() && i.Container() != "":
		if !can.HostNamespaces {
			return refuse("--ipc container:NAME")
		}
	default:
		return invalid("invalid IPC mode: %s", i)
	}
	switch {
	case !h.UTSMode.Valid():
		return invalid("invalid UTS mode: %s", h.UTSMode)
	case h.UTSMode.IsHost() && c.Hostname != "":
		return invalid("conflicting options: hostname and the UTS mode")
	case h.UTSMode.IsHost() && !can.HostNamespaces:
		return refuse("--uts host")
	}
	if !h.UsernsMode.Valid() {
		return invalid("invalid userns mode: %s", h.UsernsMode)
	}
	switch {
	case !h.CgroupnsMode.Valid():
		return invalid("invalid cgroup namespace mode: %s", h.CgroupnsMode)
	case h.CgroupnsMode.IsHost() && !can.HostNamespaces:
		return refuse("--cgroupns host")
	}
	return nil
}

// networkName is the network that a container is in, as the user has named it:
// bridge, host, none, container:ID, or one that users have made.
func networkName(c *container.Config, h *container.HostConfig) string {
	switch {
	case h.NetworkMode.IsNone() || c.NetworkDisabled:
		return "none"
	case h.NetworkMode == "host":
		return "host"
	case h.NetworkMode.IsContainer(), h.NetworkMode != "" && h.NetworkMode.IsUserDefined():
		return string(h.NetworkMode)
	}
	return "bridge"
}

// normalise writes defaults out, so that Inspect shows what holds. It comes
// after the checks.
func normalise(c *container.Config, h *container.HostConfig) {
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		h.NetworkMode = "bridge"
	}
	if h.IpcMode.IsEmpty() {
		h.IpcMode = container.IPCModePrivate
	}
	if h.CgroupnsMode.IsEmpty() {
		h.CgroupnsMode = container.CgroupnsModePrivate
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if h.Privileged {
		h.UsernsMode = "host"
		h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
	}
	if h.MaskedPaths == nil {
		h.MaskedPaths = maskedPaths
	}
	if h.ReadonlyPaths == nil {
		h.ReadonlyPaths = readonlyPaths
	}
	if h.Runtime == "" {
		h.Runtime = "abode"
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
}
