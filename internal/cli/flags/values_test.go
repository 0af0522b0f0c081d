package flags

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
)

func TestBytes(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "1b": 1, "1k": 1024, "1kb": 1024, "1KiB": 1024, "1.5m": 3 << 19, "2g": 2 << 30, "-1": -1, "0": 0} {
		var b Bytes
		if err := b.Set(s); err != nil || int64(b) != want {
			t.Errorf("%s is %d, %v; want %d", s, b, err, want)
		}
	}
	for _, s := range []string{"", "x", "1x", "-2"} {
		var b Bytes
		if err := b.Set(s); err == nil {
			t.Errorf("%q is taken as %d", s, b)
		}
	}
}

func TestCPUs(t *testing.T) {
	for s, want := range map[string]int64{"1": 1e9, "0.5": 5e8, "1.5": 15e8, "0.000000001": 1, "2/1": 2e9} {
		var c CPUs
		if err := c.Set(s); err != nil || int64(c) != want {
			t.Errorf("%s is %d, %v; want %d", s, c, err, want)
		}
	}
	for s, want := range map[string]string{"x": "failed to parse x as a rational number", "0.0000000001": "value is too precise", "1e30": "value is too large"} {
		var c CPUs
		if err := c.Set(s); err == nil || err.Error() != want {
			t.Errorf("%s: the error is %v, want %q", s, err, want)
		}
	}
}

func TestUlimits(t *testing.T) {
	got, err := Ulimits([]string{"nofile=1024", "core=0:0", "nofile=512:1024", "nproc=-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []*container.Ulimit{{Name: "nofile", Soft: 512, Hard: 1024}, {Name: "core"}, {Name: "nproc", Soft: -1, Hard: -1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, s := range []string{"nofile", "nope=1", "nofile=2:1", "nofile=x"} {
		if _, err := Ulimits([]string{s}); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func TestRestart(t *testing.T) {
	for s, want := range map[string]container.RestartPolicy{
		"": {}, "no": {Name: "no"}, "always": {Name: "always"}, "unless-stopped": {Name: "unless-stopped"},
		"on-failure": {Name: "on-failure"}, "on-failure:3": {Name: "on-failure", MaximumRetryCount: 3},
	} {
		if got, err := Restart(s); err != nil || got != want {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"sometimes": "unknown policy 'sometimes'", ":1": "no policy provided before colon",
		"on-failure:x": "maximum retry count must be an integer", "always:3": "can only be used with 'on-failure'",
	} {
		if _, err := Restart(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", s, err, want)
		}
	}
}

func TestHosts(t *testing.T) {
	got, err := Hosts([]string{"a:10.0.0.1", "b=10.0.0.2", "c:::1", "d=[::1]", "e:host-gateway"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a:10.0.0.1", "b:10.0.0.2", "c:::1", "d:::1", "e:host-gateway"}, got); d != "" {
		t.Error(d)
	}
	for _, s := range []string{"a", ":1.2.3.4", "a:b", "a:300.1.1.1"} {
		if _, err := Hosts([]string{s}); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func TestDevice(t *testing.T) {
	for s, want := range map[string]container.DeviceMapping{
		"/dev/fuse":              {PathOnHost: "/dev/fuse", PathInContainer: "/dev/fuse", CgroupPermissions: "rwm"},
		"/dev/fuse:r":            {PathOnHost: "/dev/fuse", PathInContainer: "/dev/fuse", CgroupPermissions: "r"},
		"/dev/sda:/dev/xvda":     {PathOnHost: "/dev/sda", PathInContainer: "/dev/xvda", CgroupPermissions: "rwm"},
		"/dev/sda:/dev/xvda:rwm": {PathOnHost: "/dev/sda", PathInContainer: "/dev/xvda", CgroupPermissions: "rwm"},
	} {
		if got, err := Device(s); err != nil || got != want {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/a:/b:x", "/a:/b:r:w"} {
		if _, err := Device(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestSecurityOptions(t *testing.T) {
	profile := write(t, "{ \"defaultAction\":\n \"SCMP_ACT_ALLOW\" }")
	got, unmasked, err := SecurityOptions([]string{"no-new-privileges", "no-new-privileges=true", "apparmor:x", "seccomp=unconfined", "seccomp=" + profile, "systempaths=unconfined"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"no-new-privileges", "no-new-privileges=true", "apparmor:x", "seccomp=unconfined", `seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`}
	if d := cmp.Diff(want, got); d != "" || !unmasked {
		t.Errorf("unmasked is %v; %s", unmasked, d)
	}
	for _, s := range []string{"nope", "seccomp=/does/not/exist", "seccomp=" + write(t, "not json")} {
		if _, _, err := SecurityOptions([]string{s}); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func TestPlatform(t *testing.T) {
	for s, want := range map[string][3]string{
		"linux/amd64": {"linux", "amd64"}, "linux/arm/v7": {"linux", "arm", "v7"}, "linux": {"linux"}, "arm64": {"linux", "arm64"}, "Linux/AMD64": {"linux", "amd64"},
	} {
		p, err := Platform(s)
		if err != nil || [3]string{p.OS, p.Architecture, p.Variant} != want {
			t.Errorf("%s is %+v, %v", s, p, err)
		}
	}
	for _, s := range []string{"/", "linux/", "a/b/c/d"} {
		if _, err := Platform(s); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
	if p, err := Platform(""); p != nil || err != nil {
		t.Errorf("no platform is %v, %v", p, err)
	}
}

func TestFilters(t *testing.T) {
	got, err := Filters([]string{"status=exited", "status=created", "label=a=b", " Name = x "})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]bool{"status": {"exited": true, "created": true}, "label": {"a=b": true}, "name": {"x": true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
