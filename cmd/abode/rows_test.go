package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
)

func TestPorts(t *testing.T) {
	v4, v6 := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")
	port := func(ip netip.Addr, private, public uint16, kind string) container.PortSummary {
		return container.PortSummary{IP: ip, PrivatePort: private, PublicPort: public, Type: kind}
	}
	for want, list := range map[string][]container.PortSummary{
		"":       nil,
		"80/tcp": {port(netip.Addr{}, 80, 0, "tcp")},
		"0.0.0.0:8080->80/tcp, [::]:8080->80/tcp":    {port(v6, 80, 8080, "tcp"), port(v4, 80, 8080, "tcp")},
		"0.0.0.0:8080-8082->80-82/tcp":               {port(v4, 82, 8082, "tcp"), port(v4, 80, 8080, "tcp"), port(v4, 81, 8081, "tcp")},
		"0.0.0.0:8080->80/tcp, 0.0.0.0:9000->81/tcp": {port(v4, 80, 8080, "tcp"), port(v4, 81, 9000, "tcp")},
		"80-81/tcp, 0.0.0.0:53->53/udp":              {port(netip.Addr{}, 80, 0, "tcp"), port(netip.Addr{}, 81, 0, "tcp"), port(v4, 53, 53, "udp")},
	} {
		if got := ports(list); got != want {
			t.Errorf("%v are %q, want %q", list, got, want)
		}
	}
}

func TestPsRow(t *testing.T) {
	r := newPsRow(container.Summary{
		ID: fakeID, Names: []string{"/web", "/db/alias"}, Image: "sha256:0123456789abcdef", Command: "nginx -g 'daemon off;'",
		Created: time.Now().Add(-3 * time.Hour).Unix(), State: "running", Status: "Up 3 hours", Labels: map[string]string{"b": "2", "a": "1"},
	}, false)
	want := []string{"0123456789ab", "web,db/alias", "0123456789ab", `"nginx -g 'daemon of…"`, "3 hours ago", "a=1,b=2"}
	if d := cmp.Diff(want, []string{r.ID, r.Names, r.Image, r.Command, r.RunningFor, r.Labels}); d != "" {
		t.Error(d)
	}
	if r.Label("b") != "2" {
		t.Errorf("the label is %q", r.Label("b"))
	}
}

func TestImageRows(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	names := func(s image.Summary, withDigest bool) (out []string) {
		for _, r := range imageRows(s, false, withDigest) {
			out = append(out, r.Repository+":"+r.Tag+"@"+r.Digest)
		}
		return out
	}
	tagged := image.Summary{ID: digest, RepoTags: []string{"docker.io/library/nginx:1", "nginx:2", "example.org:5000/a/b:c"}, RepoDigests: []string{"nginx@" + digest}}
	if d := cmp.Diff([]string{"nginx:1@<none>", "nginx:2@<none>", "example.org:5000/a/b:c@<none>"}, names(tagged, false)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"nginx:1@" + digest, "nginx:2@" + digest, "example.org:5000/a/b:c@<none>"}, names(tagged, true)); d != "" {
		t.Error(d)
	}
	pulled := image.Summary{ID: digest, RepoDigests: []string{"nginx@" + digest}}
	if d := cmp.Diff([]string{"nginx:<none>@" + digest}, names(pulled, true)); d != "" {
		t.Error(d)
	}
	for _, tags := range [][]string{nil, {"<none>:<none>"}} {
		if d := cmp.Diff([]string{"<none>:<none>@<none>"}, names(image.Summary{ID: digest, RepoTags: tags}, false)); d != "" {
			t.Error(d)
		}
	}
}

func TestStats(t *testing.T) {
	s := container.StatsResponse{
		ID: fakeID, Name: "/web",
		CPUStats:    container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: 300}, SystemUsage: 2000, OnlineCPUs: 4},
		PreCPUStats: container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: 100}, SystemUsage: 1000},
		MemoryStats: container.MemoryStats{Usage: 3 << 20, Limit: 8 << 20, Stats: map[string]uint64{"inactive_file": 1 << 20}},
		PidsStats:   container.PidsStats{Current: 3},
		Networks:    map[string]container.NetworkStats{"eth0": {RxBytes: 1000, TxBytes: 2000}, "eth1": {RxBytes: 1}},
		BlkioStats:  container.BlkioStats{IoServiceBytesRecursive: []container.BlkioStatEntry{{Op: "Read", Value: 5000}, {Op: "write", Value: 1}}},
	}
	want := statsRow{
		Container: "web", ID: "0123456789ab", Name: "web", CPUPerc: "80.00%", MemUsage: "2MiB / 8MiB", MemPerc: "25.00%",
		NetIO: "1kB / 2kB", BlockIO: "5kB / 1B", PIDs: "3", Hypervisor: "-", HypervisorCPU: "-", HypervisorMem: "-",
	}
	if d := cmp.Diff(want, newStatsRow("web", s, false)); d != "" {
		t.Error(d)
	}
	s.Read = time.Now()
	s.PreRead = s.Read.Add(-2 * time.Second)
	s.MemoryStats.Stats["abode_hypervisor_bytes"] = 45 << 20
	s.MemoryStats.Stats["abode_hypervisor_cpu_nanoseconds"] = 7e9
	s.MemoryStats.Stats["abode_hypervisor_precpu_nanoseconds"] = 6e9
	want.Hypervisor, want.HypervisorCPU, want.HypervisorMem = "50.00% / 45MiB", "50.00%", "45MiB"
	if d := cmp.Diff(want, newStatsRow("web", s, false)); d != "" {
		t.Error(d)
	}
	// The first sample of a stream has none before it, a stopped container no limit.
	if r := newStatsRow("x", container.StatsResponse{}, false); r.CPUPerc != "0.00%" || r.MemPerc != "0.00%" {
		t.Errorf("nothing is %+v", r)
	}
}

func TestEventLine(t *testing.T) {
	m := events.Message{Type: "container", Action: "die", TimeNano: 1700000000000000001, Actor: events.Actor{ID: "abc", Attributes: map[string]string{"name": "web", "exitCode": "1"}}}
	want := time.Unix(0, m.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00") + " container die abc (exitCode=1, name=web)"
	if got := eventLine(m); got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
}

func TestAbsolute(t *testing.T) {
	for p, want := range map[string]string{"/a/b": "/a/b", "a": "/a", "/a/": "/a/", "/a/.": "/a/.", ".": "/.", "/": "/", "/a/../..": "/"} {
		if got := absolute(p); got != want {
			t.Errorf("%q is %q, want %q", p, got, want)
		}
	}
}
