package engine

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/network"
)

var everything = kernel.Capabilities{HostNetwork: true, HostDevices: true, HostNamespaces: true}

func p[T any](v T) *T { return &v }

// What cannot be done is refused with a text that says what.
func TestCheckHostRefuses(t *testing.T) {
	port := apinetwork.MustParsePort("80/tcp")
	for _, c := range []struct {
		has  string
		wall kernel.Isolation
		h    container.HostConfig
	}{
		{"Minimum memory limit allowed is 6MB", "", container.HostConfig{Resources: container.Resources{Memory: 1 << 20}}},
		{"Minimum memoryswap limit", "", container.HostConfig{Resources: container.Resources{Memory: 8 << 20, MemorySwap: 7 << 20}}},
		{"Range of CPUs", "", container.HostConfig{Resources: container.Resources{NanoCPUs: 1e15}}},
		{"Conflicting options", "", container.HostConfig{Resources: container.Resources{NanoCPUs: 1e9, CPUQuota: 5000}}},
		{"can't create 'AutoRemove' container", "", container.HostConfig{AutoRemove: true, RestartPolicy: container.RestartPolicy{Name: "always"}}},
		{"maximum retry count", "", container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "always", MaximumRetryCount: 2}}},
		{"unknown policy", "", container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "sometimes"}}},
		{"--network container:NAME", kernel.VM, container.HostConfig{NetworkMode: "container:x"}},
		{"--pid container:NAME", kernel.VM, container.HostConfig{PidMode: "container:x"}},
		{"--ipc container:NAME", kernel.VM, container.HostConfig{IpcMode: "container:x"}},
		{"--uts host", kernel.VM, container.HostConfig{UTSMode: "host"}},
		{"invalid PID mode: container:", "", container.HostConfig{PidMode: "container:"}},
		{"invalid IPC mode: container:", "", container.HostConfig{IpcMode: "container:"}},
		{"--network host", kernel.VM, container.HostConfig{NetworkMode: "host"}},
		{"--pid host", kernel.VM, container.HostConfig{PidMode: "host"}},
		{"--ipc host", kernel.VM, container.HostConfig{IpcMode: "host"}},
		{"--device", kernel.VM, container.HostConfig{Resources: container.Resources{Devices: []container.DeviceMapping{{PathOnHost: "/dev/null"}}}}},
		{"--cpuset-cpus", kernel.VM, container.HostConfig{Resources: container.Resources{CpusetCpus: "0"}}},
		{"log driver", "", container.HostConfig{LogConfig: container.LogConfig{Type: "syslog"}}},
		{"unknown log opt 'path' for log driver local", "", container.HostConfig{LogConfig: container.LogConfig{Type: "local", Config: map[string]string{"path": "/x"}}}},
		{"unknown log opt 'path' for json-file", "", container.HostConfig{LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"path": "/x"}}}},
		{"unknown log opt 'labels' for log driver local", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"labels": "x"}}}},
		{"invalid value for labels-regex: error parsing regexp", "", container.HostConfig{LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"labels-regex": "("}}}},
		{"invalid value for env-regex: error parsing regexp", "", container.HostConfig{LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"env-regex": "("}}}},
		{"invalid value for tag: only fields", "", container.HostConfig{LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"tag": "{{"}}}},
		{"invalid value for max-size: much", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-size": "much"}}}},
		{"max-size must be a positive number", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-size": "0"}}}},
		{"more than any disk", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-size": "900p", "max-file": "900000"}}}},
		{"invalid value for max-file: few", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-file": "few"}}}},
		{"max-file cannot be less than 1", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-file": "0"}}}},
		{"invalid value for compress: well", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"compress": "well"}}}},
		{"error parsing option max-buffer-size", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"mode": "non-blocking", "max-buffer-size": "much"}}}},
		{"logging mode not supported: fast", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"mode": "fast"}}}},
		{"max-buffer-size option is only supported", "", container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-buffer-size": "1m"}}}},
		{"invalid ulimit type", "", container.HostConfig{Resources: container.Resources{Ulimits: []*units.Ulimit{{Name: "luck"}}}}},
		{"soft limit", "", container.HostConfig{Resources: container.Resources{Ulimits: []*units.Ulimit{{Name: "nofile", Soft: 9, Hard: 8}}}}},
		{"separate kernel namespace", "", container.HostConfig{Sysctls: map[string]string{"vm.swappiness": "1"}}},
		{"host network namespace", "", container.HostConfig{NetworkMode: "host", Sysctls: map[string]string{"net.core.somaxconn": "1"}}},
		{"security-opt", "", container.HostConfig{SecurityOpt: []string{"magic=on"}}},
		{"seccomp profile", "", container.HostConfig{SecurityOpt: []string{"seccomp={"}}},
		{"unknown capability", "", container.HostConfig{CapAdd: []string{"FLY"}}},
		{"add-host", "", container.HostConfig{ExtraHosts: []string{"host:1.2.3"}}},
		{"invalid port", "", container.HostConfig{PortBindings: apinetwork.PortMap{port: {{HostPort: "many"}}}}},
		{"invalid port", "", container.HostConfig{PortBindings: apinetwork.PortMap{port: {{HostPort: "2-1"}}}}},
		{"invalid port", "", container.HostConfig{PortBindings: apinetwork.PortMap{port: {{HostPort: "0-5"}}}}},
		{"protocol sctp", "", container.HostConfig{PortBindings: apinetwork.PortMap{apinetwork.MustParsePort("80/sctp"): nil}}},
		{"oom score adj", "", container.HostConfig{OomScoreAdj: 2000}},
		{"runtime runsc", "", container.HostConfig{Runtime: "runsc"}},
	} {
		can := everything
		wall := kernel.Container
		if c.wall == kernel.VM {
			can, wall = kernel.Capabilities{}, kernel.VM
		}
		_, err := checkHost(&container.Config{}, &c.h, can, wall)
		if err == nil || !strings.Contains(err.Error(), c.has) {
			t.Errorf("want %q, got %v", c.has, err)
			continue
		}
		if !errdefs.IsInvalidArgument(err) && !errdefs.IsNotImplemented(err) && !errdefs.IsNotFound(err) {
			t.Errorf("%v: its class makes it the daemon's fault", err)
		}
	}
}

// The whole of what an agent is asked for.
func TestRequest(t *testing.T) {
	rec := &record{
		ID: strings.Repeat("ab", 32), Name: "web", Owner: 589824, Isolation: kernel.Container,
		Config: &container.Config{
			Hostname: "web.example", User: "www:staff", Env: []string{"PATH=/bin", "X=1"}, Entrypoint: []string{"/e"}, Cmd: []string{"a", "b c"},
			Tty: true, OpenStdin: true, StdinOnce: true, WorkingDir: "/srv/../app",
		},
		Host: &container.HostConfig{
			CapDrop: []string{"ALL"}, CapAdd: []string{"NET_RAW"}, SecurityOpt: []string{"no-new-privileges", "seccomp=unconfined"},
			ExtraHosts: []string{"db:10.0.0.9", "gw=host-gateway", "six:[::1]"}, GroupAdd: []string{"audio"}, Init: p(true), OomScoreAdj: 5,
			Sysctls: map[string]string{"net/core/somaxconn": "9"}, ConsoleSize: [2]uint{33, 99}, DNSOptions: []string{"rotate"},
			Resources: container.Resources{
				Memory: 64 << 20, MemorySwap: 128 << 20, NanoCPUs: 15e8, CPUShares: 7, PidsLimit: p(int64(0)), CpusetCpus: "0",
				Ulimits: []*units.Ulimit{{Name: "nofile", Soft: 10, Hard: -1}},
			},
		},
		Mounts: []mountPoint{{Type: mount.TypeBind, Source: "/h", Target: "/etc/hostname"}},
	}
	j := &attachments{Out: "n", Places: []place{{Network: "n", Attachment: network.Attachment{NIC: "veth1", Addresses: []string{"172.30.0.5/16"}, Gateways: []string{"172.30.0.1"}, DNS: []string{"172.30.0.1"}, Search: []string{"lan"}}}}}
	req, err := rec.request(j)
	if err != nil {
		t.Fatal(err)
	}
	caps := []string{"CAP_NET_RAW"}
	ids := []specs.LinuxIDMapping{{HostID: 589824, Size: 65536}}
	want := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: true, ConsoleSize: &specs.Box{Height: 33, Width: 99}, Args: []string{"/e", "a", "b c"}, Cwd: "/app",
			Env:          []string{"PATH=/bin", "HOSTNAME=web.example", "TERM=xterm", "X=1"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: ^uint64(0)}}, NoNewPrivileges: true, OOMScoreAdj: p(5),
		},
		Linux: &specs.Linux{
			UIDMappings: ids, GIDMappings: ids,
			Namespaces: []specs.LinuxNamespace{{Type: "mount"}, {Type: "uts"}, {Type: "user"}, {Type: "pid"}, {Type: "ipc"}, {Type: "cgroup"}, {Type: "network"}},
			Resources: &specs.LinuxResources{
				Memory: &specs.LinuxMemory{Limit: p(int64(64 << 20)), Swap: p(int64(128 << 20))},
				CPU:    &specs.LinuxCPU{Shares: p(uint64(7)), Quota: p(int64(150000)), Period: p(uint64(100000)), Cpus: "0"},
				Pids:   &specs.LinuxPids{Limit: p(int64(-1))},
			},
			MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths,
			Sysctl: map[string]string{"net.core.somaxconn": "9", "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"},
		},
	}
	if d := cmp.Diff(want, req.Spec); d != "" {
		t.Error(d)
	}
	if req.User != "www:staff" || !slices.Equal(req.Groups, []string{"audio"}) || !req.Init || !req.OpenStdin || !req.StdinOnce || req.Seccomp != nil || req.Hostname != "web.example" {
		t.Errorf("%+v", req)
	}
	files := map[string]string{}
	for _, f := range req.Files {
		files[f.Path] = string(f.Content)
	}
	if d := cmp.Diff(map[string]string{
		"/etc/hosts":       defaultHosts + "10.0.0.9\tdb\n172.30.0.1\tgw\n::1\tsix\n172.30.0.5\tweb.example web\n",
		"/etc/resolv.conf": "nameserver 172.30.0.1\nsearch lan\noptions rotate\n",
	}, files); d != "" {
		t.Error(d)
	}
}

// Host modes share what they say, and the default profile is compiled in.
func TestRequestHostModes(t *testing.T) {
	rec := &record{
		ID: "x", Config: &container.Config{Cmd: []string{"x"}, Hostname: "h"},
		Host: &container.HostConfig{NetworkMode: "host", PidMode: "host", IpcMode: "host", UsernsMode: "host", CgroupnsMode: "host", MaskedPaths: []string{}, ReadonlyPaths: []string{}},
	}
	req, err := rec.request(&attachments{})
	if err != nil {
		t.Fatal(err)
	}
	l := req.Spec.Linux
	if d := cmp.Diff([]specs.LinuxNamespace{{Type: "mount"}, {Type: "uts"}}, l.Namespaces); d != "" {
		t.Error(d)
	}
	if len(l.UIDMappings)+len(l.MaskedPaths)+len(l.ReadonlyPaths)+len(l.Sysctl) != 0 || len(req.Seccomp) == 0 {
		t.Errorf("%+v", l)
	}
}

// What is on disk comes back as it was.
func TestRecordRoundTrip(t *testing.T) {
	rec := &record{
		ID: "x", Name: "n", Endpoints: []endpoint{{Network: "x", Name: "web", Aliases: []string{"a"}, Address: netip.MustParseAddr("10.0.0.5")}}, Isolation: kernel.VM,
		Config: &container.Config{ExposedPorts: apinetwork.PortSet{apinetwork.MustParsePort("80/tcp"): {}}, Cmd: []string{"x"}},
		Host: &container.HostConfig{
			PortBindings: apinetwork.PortMap{apinetwork.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "8080"}}},
			DNS:          []netip.Addr{netip.MustParseAddr("9.9.9.9")}, MaskedPaths: []string{},
		},
	}
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	var got record
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	ports, err := got.ports()
	if err != nil {
		t.Fatal(err)
	}
	want := []network.PortBinding{{Proto: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8080, ContainerPort: 80}}
	if len(ports) != 1 || ports[0] != want[0] || !reflect.DeepEqual(got.Endpoints, rec.Endpoints) || got.Host.MaskedPaths == nil || got.Host.ReadonlyPaths != nil || got.Host.DNS[0] != rec.Host.DNS[0] {
		t.Errorf("%v, %+v", ports, got)
	}
}

func TestListFilter(t *testing.T) {
	e := &Engine{cfg: Config{DefaultIsolation: kernel.Container}, containers: newRegistry("")}
	c := &Container{e: e, id: "abc" + strings.Repeat("0", 61), rec: &record{
		Name: "web1", Isolation: kernel.VM, Config: &container.Config{Labels: map[string]string{"a": "1", "b": ""}, ExposedPorts: apinetwork.PortSet{apinetwork.MustParsePort("81/tcp"): {}}},
		Host:   &container.HostConfig{PortBindings: apinetwork.PortMap{apinetwork.MustParsePort("80/tcp"): nil}},
		Mounts: []mountPoint{{Type: mount.TypeVolume, Name: "vol", Target: "/data"}}, Endpoints: []endpoint{{Network: defaultNetwork, Name: defaultNetwork}},
	}, st: status{Phase: phaseExited, ExitCode: 3}}
	c.st.StartedAt = c.created().AddDate(2026, 0, 0)
	c.st.FinishedAt = c.st.StartedAt
	for filter, want := range map[string]bool{
		"id=abc": true, "id=bc": false, "name=web": true, "name=^/web1$": true, "name=^eb": false, "label=a": true, "label=a=1": true, "label=a=2": false,
		"status=exited": true, "status=running": false, "exited=3": true, "exited=0": false, "isolation=vm": true, "isolation=container": false, "isolation=default": false,
		"volume=vol": true, "volume=/data": true, "volume=other": false, "network=bridge": true, "network=host": false,
		"publish=80": true, "publish=81": false, "publish=79-82": true, "expose=81/tcp": true, "health=none": true, "is-task=true": false,
		"label=a label=b": true, "label=a label=c": false, "name=no name=web": true, "name=web exited=0": false,
	} {
		filters := map[string]map[string]bool{}
		for f := range strings.FieldsSeq(filter) {
			k, v, _ := strings.Cut(f, "=")
			if filters[k] == nil {
				filters[k] = map[string]bool{}
			}
			filters[k][v] = true
		}
		f, err := e.listFilter(t.Context(), filters)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.accepts(c, c.rec, &c.st); got != want {
			t.Errorf("%s: %t", filter, got)
		}
	}
	for _, bad := range []string{"name=(", "status=asleep", "exited=x", "publish=x", "colour=red", "before=nobody"} {
		k, v, _ := strings.Cut(bad, "=")
		if _, err := e.listFilter(t.Context(), map[string]map[string]bool{k: {v: true}}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
