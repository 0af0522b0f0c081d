package engine

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/network"
)

// How a field of a create request is honoured.
const (
	sent    = "sent"    // its value is in what the agent is asked for
	refused = "refused" // on both walls
	notVM   = "not vm"  // sent to the host's agent; refused on the vm wall
	kept    = "kept"    // by the engine, which does itself what it says, or shows it; a note says where
)

// field is one of Config, HostConfig or Resources.
type field struct {
	how  string
	note string
	set  func(c *container.Config, h *container.HostConfig)
}

// Nothing that a client asks for is ignored silently: each field of the API's
// structs is here, and does what this table says. A field that a new version
// of the API brings makes this fail until it is honoured or refused.
func TestEveryFieldIsHonoured(t *testing.T) {
	c := func(set func(*container.Config)) func(*container.Config, *container.HostConfig) {
		return func(c *container.Config, _ *container.HostConfig) { set(c) }
	}
	h := func(set func(*container.HostConfig)) func(*container.Config, *container.HostConfig) {
		return func(_ *container.Config, h *container.HostConfig) { set(h) }
	}
	null := []*blkiodev.ThrottleDevice{{Path: "/dev/null", Rate: 1}}
	disks := func(set func(h *container.HostConfig)) field {
		return field{refused, "by either wall for its reason: see TestLimits", h(set)}
	}
	audits := map[reflect.Type]map[string]field{
		reflect.TypeFor[container.Config](): {
			"Hostname":        {sent, "", c(func(c *container.Config) { c.Hostname = "other" })},
			"Domainname":      {sent, "", c(func(c *container.Config) { c.Domainname = "d" })},
			"User":            {sent, "", c(func(c *container.Config) { c.User = "u" })},
			"AttachStdin":     {kept, "what a client wants of attach; shown", nil},
			"AttachStdout":    {kept, "as AttachStdin", nil},
			"AttachStderr":    {kept, "as AttachStdin", nil},
			"ExposedPorts":    {kept, "ports.go, with PublishAllPorts", nil},
			"Tty":             {sent, "", c(func(c *container.Config) { c.Tty = true })},
			"OpenStdin":       {sent, "", c(func(c *container.Config) { c.OpenStdin = true })},
			"StdinOnce":       {sent, "", c(func(c *container.Config) { c.StdinOnce = true })},
			"Env":             {sent, "", c(func(c *container.Config) { c.Env = []string{"A=b"} })},
			"Cmd":             {sent, "", c(func(c *container.Config) { c.Cmd = []string{"y"} })},
			"Entrypoint":      {sent, "", c(func(c *container.Config) { c.Entrypoint = []string{"e"} })},
			"WorkingDir":      {sent, "", c(func(c *container.Config) { c.WorkingDir = "/w" })},
			"Healthcheck":     {kept, "health.go", nil},
			"ArgsEscaped":     {kept, "of Windows images alone; shown", nil},
			"Image":           {kept, "create.go", nil},
			"Volumes":         {kept, "mounts.go", nil},
			"NetworkDisabled": {kept, "networkName", nil},
			"OnBuild":         {kept, "for builders; commit keeps it", nil},
			"Labels":          {kept, "list.go, filters.go, events", nil},
			"StopSignal":      {kept, "stop.go", nil},
			"StopTimeout":     {kept, "stop.go", nil},
			"Shell":           {kept, "health.go, of a check in shell form", nil},
		},
		reflect.TypeFor[container.HostConfig](): {
			"Binds":           {kept, "mounts.go", nil},
			"ContainerIDFile": {kept, "the client writes it; shown", nil},
			"LogConfig":       {kept, "logconfig.go", nil},
			"NetworkMode":     {notVM, "", h(func(h *container.HostConfig) { h.NetworkMode = "host" })},
			"PortBindings":    {kept, "ports.go", nil},
			"PublishAllPorts": {kept, "ports.go", nil},
			"RestartPolicy":   {kept, "restart.go", nil},
			"AutoRemove":      {kept, "exit.go", nil},
			"VolumeDriver":    {refused, "", h(func(h *container.HostConfig) { h.VolumeDriver = "nfs" })},
			"VolumesFrom":     {kept, "mounts.go", nil},
			"ConsoleSize":     {sent, "", func(c *container.Config, h *container.HostConfig) { c.Tty, h.ConsoleSize = true, [2]uint{4, 5} }},
			"Annotations":     {kept, "shown; " + noTemplate + " in place.go", nil},
			"CapAdd":          {sent, "", h(func(h *container.HostConfig) { h.CapAdd = []string{"SYS_TIME"} })},
			"CapDrop":         {sent, "", h(func(h *container.HostConfig) { h.CapDrop = []string{"CHOWN"} })},
			"CgroupnsMode":    {notVM, "", h(func(h *container.HostConfig) { h.CgroupnsMode = "host" })},
			"DNS":             {sent, "", h(func(h *container.HostConfig) { h.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.9")} })},
			"DNSOptions":      {sent, "", h(func(h *container.HostConfig) { h.DNSOptions = []string{"rotate"} })},
			"DNSSearch":       {sent, "", h(func(h *container.HostConfig) { h.DNSSearch = []string{"search.example"} })},
			"ExtraHosts":      {sent, "", h(func(h *container.HostConfig) { h.ExtraHosts = []string{"a:192.0.2.9"} })},
			"GroupAdd":        {sent, "", h(func(h *container.HostConfig) { h.GroupAdd = []string{"g"} })},
			"IpcMode":         {notVM, "", h(func(h *container.HostConfig) { h.IpcMode = "host" })},
			"Cgroup":          {refused, "", h(func(h *container.HostConfig) { h.Cgroup = "container:x" })},
			"Links":           {kept, "links of a network, or refused", nil},
			"OomScoreAdj":     {sent, "", h(func(h *container.HostConfig) { h.OomScoreAdj = 9 })},
			"PidMode":         {notVM, "", h(func(h *container.HostConfig) { h.PidMode = "host" })},
			"Privileged":      {sent, "", h(func(h *container.HostConfig) { h.Privileged = true })},
			"ReadonlyRootfs":  {kept, "place.go", nil},
			"SecurityOpt":     {sent, "", h(func(h *container.HostConfig) { h.SecurityOpt = []string{"no-new-privileges"} })},
			"StorageOpt":      {refused, "", h(func(h *container.HostConfig) { h.StorageOpt = map[string]string{"size": "1g"} })},
			"Tmpfs":           {kept, "mounts.go", nil},
			"UTSMode":         {notVM, "", h(func(h *container.HostConfig) { h.UTSMode = "host" })},
			"UsernsMode":      {sent, "", h(func(h *container.HostConfig) { h.UsernsMode = "host" })},
			"ShmSize":         {sent, "", h(func(h *container.HostConfig) { h.ShmSize = 1 << 20 })},
			"Sysctls":         {sent, "", h(func(h *container.HostConfig) { h.Sysctls = map[string]string{"net.core.somaxconn": "9"} })},
			"Runtime":         {refused, "", h(func(h *container.HostConfig) { h.Runtime = "runc" })},
			"Umask":           {refused, "", h(func(h *container.HostConfig) { h.Umask = p(uint32(0o77)) })},
			"Isolation":       {kept, "walls.go", nil},
			"Mounts":          {kept, "mounts.go; see TestMountFields", nil},
			"MaskedPaths":     {sent, "", h(func(h *container.HostConfig) { h.MaskedPaths = []string{} })},
			"ReadonlyPaths":   {sent, "", h(func(h *container.HostConfig) { h.ReadonlyPaths = []string{} })},
			"Init":            {sent, "", h(func(h *container.HostConfig) { h.Init = p(true) })},
			"Resources":       {kept, "below", nil},
		},
		reflect.TypeFor[container.Resources](): {
			"CPUShares":            {sent, "", h(func(h *container.HostConfig) { h.CPUShares = 9 })},
			"Memory":               {sent, "", h(func(h *container.HostConfig) { h.Memory = 64 << 20 })},
			"NanoCPUs":             {sent, "", h(func(h *container.HostConfig) { h.NanoCPUs = 5e8 })},
			"CgroupParent":         {refused, "", h(func(h *container.HostConfig) { h.CgroupParent = "x" })},
			"BlkioWeight":          {kept, "discarded with a warning where the kernel has none: see TestLimits", nil},
			"BlkioWeightDevice":    {kept, "as BlkioWeight", nil},
			"BlkioDeviceReadBps":   disks(func(h *container.HostConfig) { h.BlkioDeviceReadBps = null }),
			"BlkioDeviceWriteBps":  disks(func(h *container.HostConfig) { h.BlkioDeviceWriteBps = null }),
			"BlkioDeviceReadIOps":  disks(func(h *container.HostConfig) { h.BlkioDeviceReadIOps = null }),
			"BlkioDeviceWriteIOps": disks(func(h *container.HostConfig) { h.BlkioDeviceWriteIOps = null }),
			"CPUPeriod":            {sent, "", h(func(h *container.HostConfig) { h.CPUPeriod = 50000 })},
			"CPUQuota":             {sent, "", h(func(h *container.HostConfig) { h.CPUQuota = 25000 })},
			"CPURealtimePeriod":    {refused, "", h(func(h *container.HostConfig) { h.CPURealtimePeriod = 1 })},
			"CPURealtimeRuntime":   {refused, "", h(func(h *container.HostConfig) { h.CPURealtimeRuntime = 1 })},
			"CpusetCpus":           {notVM, "", h(func(h *container.HostConfig) { h.CpusetCpus = "0" })},
			"CpusetMems":           {notVM, "", h(func(h *container.HostConfig) { h.CpusetMems = "0" })},
			"Devices": {notVM, "", h(func(h *container.HostConfig) {
				h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null", PathInContainer: "/dev/n"}}
			})},
			"DeviceCgroupRules":  {sent, "", h(func(h *container.HostConfig) { h.DeviceCgroupRules = []string{"c 1:1 r"} })},
			"DeviceRequests":     {refused, "", h(func(h *container.HostConfig) { h.DeviceRequests = []container.DeviceRequest{{Count: 1}} })},
			"MemoryReservation":  {sent, "", h(func(h *container.HostConfig) { h.MemoryReservation = 32 << 20 })},
			"MemorySwap":         {sent, "", h(func(h *container.HostConfig) { h.Memory, h.MemorySwap = 64<<20, 65<<20 })},
			"MemorySwappiness":   {kept, "discarded with a warning where the kernel has none: see TestLimits", nil},
			"OomKillDisable":     {kept, "as MemorySwappiness", nil},
			"PidsLimit":          {sent, "", h(func(h *container.HostConfig) { h.PidsLimit = p(int64(9)) })},
			"Ulimits":            {sent, "", h(func(h *container.HostConfig) { h.Ulimits = []*units.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}} })},
			"CPUCount":           {refused, "", h(func(h *container.HostConfig) { h.CPUCount = 1 })},
			"CPUPercent":         {refused, "", h(func(h *container.HostConfig) { h.CPUPercent = 1 })},
			"IOMaximumIOps":      {refused, "", h(func(h *container.HostConfig) { h.IOMaximumIOps = 1 })},
			"IOMaximumBandwidth": {refused, "", h(func(h *container.HostConfig) { h.IOMaximumBandwidth = 1 })},
		},
	}
	can := everything
	can.Limits.IOThrottle = true
	base, err := asked(nil, can, kernel.Container)
	if err != nil {
		t.Fatal(err)
	}
	for of, fields := range audits {
		for f := range of.Fields() {
			if _, ok := fields[f.Name]; !ok {
				t.Errorf("%s.%s is not in the table: honour it, or refuse it", of, f.Name)
			}
		}
		for name, f := range fields {
			if _, ok := of.FieldByName(name); !ok {
				t.Errorf("%s has no field %s", of, name)
			}
			if f.set == nil {
				if f.how != kept || f.note == "" {
					t.Errorf("%s.%s: it takes a value to try, or a note where it is honoured", of, name)
				}
				continue
			}
			onHost, herr := asked(f.set, can, kernel.Container)
			onVM, verr := asked(f.set, kernel.Capabilities{}, kernel.VM)
			switch f.how {
			case refused:
				if herr == nil || verr == nil {
					t.Errorf("%s.%s is not refused: %v, %v", of, name, herr, verr)
				}
			case notVM:
				if herr != nil || verr == nil || onHost == base {
					t.Errorf("%s.%s: %v, %v, sent: %t", of, name, herr, verr, onHost != base)
				}
			default:
				if herr != nil || verr != nil || onHost == base || onVM == base {
					t.Errorf("%s.%s: %v, %v, sent: %t, %t", of, name, herr, verr, onHost != base, onVM != base)
				}
			}
		}
	}
}

// asked is what an agent is asked for, with set's change, as JSON.
func asked(set func(*container.Config, *container.HostConfig), can kernel.Capabilities, wall kernel.Isolation) (string, error) {
	rec := &record{ID: strings.Repeat("ab", 32), Name: "n", Owner: ownerFirst, Isolation: wall, Config: &container.Config{Cmd: []string{"x"}}, Host: &container.HostConfig{}}
	if set != nil {
		set(rec.Config, rec.Host)
	}
	if _, err := checkHost(rec.Config, rec.Host, can, wall); err != nil {
		return "", err
	}
	normalise(rec.Config, rec.Host)
	req, err := rec.request(&attachments{Places: []place{{Network: defaultNetwork, Attachment: network.Attachment{NIC: "x", DNS: []string{"172.30.0.1"}, Addresses: []string{"172.30.0.5/16"}}}}})
	if err != nil {
		return "", err
	}
	req.Mounts = rec.shm()
	b, err := json.Marshal(req)
	return string(b) + string(req.Seccomp), err
}

// What a mount may have, and what is done with it.
func TestMountFields(t *testing.T) {
	for of, want := range map[reflect.Type][]string{
		reflect.TypeFor[mount.Mount](): {"Type", "Source", "Target", "ReadOnly", "BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions", "ClusterOptions",
			"Consistency"}, // of Docker Desktop alone
		reflect.TypeFor[mount.BindOptions](): {"Propagation", "CreateMountpoint", "NonRecursive", "ReadOnlyNonRecursive",
			"ReadOnlyForceRecursive"}, // what is read-only is so recursively, or the start fails
		reflect.TypeFor[mount.VolumeOptions](): {"NoCopy", "Labels", "Subpath", "DriverConfig"},
		reflect.TypeFor[mount.TmpfsOptions]():  {"SizeBytes", "Mode", "Options"},
	} {
		for f := range of.Fields() {
			if !slices.Contains(want, f.Name) {
				t.Errorf("%s.%s is not honoured, and not refused", of, f.Name)
			}
		}
	}
	for _, m := range []mount.Mount{
		{Type: "bind", Source: "/", Target: "/x", BindOptions: &mount.BindOptions{NonRecursive: true}},
		{Type: "bind", Source: "/", Target: "/x", BindOptions: &mount.BindOptions{ReadOnlyNonRecursive: true}},
		{Type: "bind", Source: "/", Target: "/x", ImageOptions: &mount.ImageOptions{}},
		{Type: "volume", Target: "/x", ClusterOptions: &mount.ClusterOptions{}},
		{Type: "volume", Target: "/x", VolumeOptions: &mount.VolumeOptions{Subpath: "x"}},
		{Type: "volume", Target: "/x", VolumeOptions: &mount.VolumeOptions{DriverConfig: &mount.Driver{Name: "nfs"}}},
	} {
		if got, err := parseMount(m); err == nil {
			t.Errorf("%+v became %+v", m, got)
		}
	}
	got, err := parseMount(mount.Mount{Type: "volume", Target: "/x", VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{"a": "b"}}})
	if err != nil || got.Labels["a"] != "b" {
		t.Errorf("%+v, error %v", got, err)
	}
}

// Who has no place in a network of the engine's is told so, in Docker's words.
func TestUnattached(t *testing.T) {
	for want, ep := range map[string]apinetwork.EndpointSettings{
		"network-scoped aliases are only supported for user-defined networks":  {Aliases: []string{"a"}},
		"user specified IP address is supported on user defined networks only": {IPAMConfig: &apinetwork.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("192.0.2.1")}},
		"conflicting options: mac-address and the network mode":                {MacAddress: apinetwork.HardwareAddr{2, 0, 0, 0, 0, 1}},
		"conflicting options: links and the network mode":                      {Links: []string{"a"}},
		"conflicting options: driver options and the network mode":             {DriverOpts: map[string]string{"a": "b"}},
	} {
		if err := checkUnattached(&ep); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := checkUnattached(&apinetwork.EndpointSettings{IPAMConfig: &apinetwork.EndpointIPAMConfig{}}); err != nil {
		t.Error(err)
	}
}
