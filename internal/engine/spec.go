package engine

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
)

// defaultPath is the PATH of a container whose image has none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maskedPaths and readonlyPaths are what Docker keeps from containers.
var (
	maskedPaths = []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// request describes a container to its agent, but for what the placed kernel
// names (root file system, mounts' sources, links, log) and the cgroup.
func (rec *record) request(j *attachments) (*agent.CreateRequest, error) {
	c, h := rec.Config, rec.Host
	caps, err := capabilities(h)
	if err != nil {
		return nil, err
	}
	sec, err := parseSecurity(h)
	if err != nil {
		return nil, err
	}
	program, err := seccompProgram(sec, caps)
	if err != nil {
		return nil, err
	}
	devices, err := linuxDevices(h.Devices)
	if err != nil {
		return nil, err
	}
	resources, err := linuxResources(&h.Resources)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal:        c.Tty,
			Args:            rec.command(),
			Env:             rec.environment(),
			Cwd:             "/",
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:         posixLimits(h.Ulimits),
			NoNewPrivileges: sec.NoNewPrivileges,
			OOMScoreAdj:     &h.OomScoreAdj,
		},
		Linux: &specs.Linux{
			Namespaces:    rec.namespaces(),
			Resources:     resources,
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
			Sysctl:        rec.sysctls(),
			Devices:       devices,
		},
	}
	if c.WorkingDir != "" {
		spec.Process.Cwd = path.Clean(c.WorkingDir)
	}
	if size := h.ConsoleSize; c.Tty && size != [2]uint{} {
		spec.Process.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	if h.MaskedPaths != nil { // --security-opt systempaths=unconfined sends empty ones
		spec.Linux.MaskedPaths = h.MaskedPaths
	}
	if h.ReadonlyPaths != nil {
		spec.Linux.ReadonlyPaths = h.ReadonlyPaths
	}
	spec.Linux.UIDMappings = rec.mappings(rec.Owner)
	spec.Linux.GIDMappings = spec.Linux.UIDMappings
	files, err := rec.files(j)
	if err != nil {
		return nil, err
	}
	return &agent.CreateRequest{
		ID:         rec.ID,
		Spec:       spec,
		User:       c.User,
		Groups:     h.GroupAdd,
		Hostname:   c.Hostname,
		Domain:     c.Domainname,
		Files:      files,
		Seccomp:    program,
		Privileged: h.Privileged,
		Init:       h.Init != nil && *h.Init,
		OpenStdin:  c.OpenStdin,
		StdinOnce:  c.StdinOnce,
	}, nil
}

// mappings are those of the users of a container with the IDs from owner on.
func (rec *record) mappings(owner int) []specs.LinuxIDMapping {
	if rec.Host.UsernsMode.IsHost() {
		return nil
	}
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(owner), Size: ownerSize}}
}

// environment is the workload's; HOME is the agent's to find out.
func (rec *record) environment() []string {
	base := []string{defaultPath, "HOSTNAME=" + rec.Config.Hostname}
	if rec.Config.Tty {
		base = append(base, "TERM=xterm")
	}
	return mergeEnv(base, rec.Config.Env)
}

// allNamespaces is how many a container can have of its own.
const allNamespaces = 7

func (rec *record) namespaces() []specs.LinuxNamespace {
	h := rec.Host
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	for _, n := range []struct {
		shared bool
		kind   specs.LinuxNamespaceType
	}{
		{h.UTSMode.IsHost(), specs.UTSNamespace},
		{h.UsernsMode.IsHost(), specs.UserNamespace},
		{h.PidMode.IsHost(), specs.PIDNamespace},
		{h.IpcMode.IsHost(), specs.IPCNamespace},
		{h.CgroupnsMode.IsHost(), specs.CgroupNamespace},
		{networkName(rec.Config, h) == "host", specs.NetworkNamespace},
	} {
		if n.shared {
			continue
		}
		ns := specs.LinuxNamespace{Type: n.kind}
		if rec.joined != nil && rec.joined.namespaces[n.kind] != "" {
			ns.Path = agent.JoinPrefix + rec.joined.namespaces[n.kind]
		}
		list = append(list, ns)
	}
	return list
}

// sysctls adds Docker's two, with which a workload needs no capability to
// ping and to listen on low ports.
func (rec *record) sysctls() map[string]string {
	all := map[string]string{}
	if n := networkName(rec.Config, rec.Host); n != "host" && !rec.Host.NetworkMode.IsContainer() {
		all["net.ipv4.ip_unprivileged_port_start"] = "0"
		all["net.ipv4.ping_group_range"] = "0 2147483647"
		if !rec.Host.UsernsMode.IsHost() {
			all["net.ipv4.ping_group_range"] = fmt.Sprintf("0 %d", ownerSize-1) // those that are mapped
		}
	}
	for name, value := range rec.Host.Sysctls {
		all[strings.ReplaceAll(name, "/", ".")] = value
	}
	return all
}

func posixLimits(ulimits []*units.Ulimit) []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for _, u := range ulimits {
		// -1, no limit, is all bits of the unsigned form.
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft)})
	}
	slices.SortFunc(list, func(a, b specs.POSIXRlimit) int { return strings.Compare(a.Type, b.Type) })
	return list
}
