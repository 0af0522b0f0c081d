package engine

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]int{
		"9": 9, "KILL": 9, "SIGKILL": 9, "sigterm": 15, "RTMIN": 34, "SIGRTMIN+3": 37, "rtmax-1": 63, "64": 64, "WINCH": 28,
		"0": 0, "65": 0, "-1": 0, "NOPE": 0, "": 0, "RTMIN+31": 0, "RTMIN3": 0, "RTMAX+1": 0, "SIGSIGKILL": 0,
	} {
		n, err := parseSignal(s)
		if n != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", s, n, err, want)
		}
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: class of %v", s, err)
		}
	}
}

func TestNames(t *testing.T) {
	r := newRegistry("")
	id1, id2 := "aa"+strings.Repeat("0", 62), "ab"+strings.Repeat("0", 62)
	reserve := func(id, name string) *Container {
		t.Helper()
		name, owner, err := r.reserve(id, name)
		if err != nil {
			t.Fatal(err)
		}
		c := &Container{id: id, rec: &record{ID: id, Name: name, Owner: owner}}
		r.make(c)
		if _, err := r.find(id); !errdefs.IsNotFound(err) {
			t.Errorf("a container is seen while it is made: %v", err)
		}
		r.add(c)
		return c
	}
	c1 := reserve(id1, "one")
	c2 := reserve(id2, "")
	if c1.rec.Owner == c2.rec.Owner || c1.rec.Owner%65536 != 0 || c1.rec.Owner < 524288 {
		t.Errorf("owners %d and %d", c1.rec.Owner, c2.rec.Owner)
	}
	if _, err := checkName(c2.rec.Name); err != nil || !strings.Contains(c2.rec.Name, "_") {
		t.Errorf("random name %q: %v", c2.rec.Name, err)
	}
	_, _, err := r.reserve("x", "one")
	if want := `Conflict. The container name "/one" is already in use by container "` + id1 + `". You have to remove (or rename) that container to be able to reuse that name.`; err == nil || err.Error() != want || !errdefs.IsConflict(err) {
		t.Errorf("got %v, want %s", err, want)
	}
	for s, want := range map[string]*Container{"one": c1, "/one": c1, "aa": c1, id2: c2, "ab0": c2, c2.rec.Name: c2} {
		if c, err := r.find(s); c != want || err != nil {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	}
	if _, err := r.find("a"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an ambiguous prefix: %v", err)
	}
	for _, s := range []string{"", "/", "zz", "on"} {
		if _, err := r.find(s); !errdefs.IsNotFound(err) || err.Error() != "No such container: "+s {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := r.rename(id1, "one", c2.rec.Name); !errdefs.IsConflict(err) {
		t.Errorf("renamed to a taken name: %v", err)
	}
	r.forget(id1)
	if c := reserve("ac"+id1[2:], "one"); c.rec.Owner != c1.rec.Owner {
		t.Errorf("the freed owner is not used again")
	}
	for _, bad := range []string{"x", "_a", "a b", "a/b", "-a", strings.Repeat("a", 256), "ä1", "a\n"} {
		if _, err := checkName(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("name %q: %v", bad, err)
		}
	}
}

func TestRandomNamesEnd(t *testing.T) {
	r := newRegistry("")
	for range 3000 { // more than half of what two words give
		if _, _, err := r.reserve(newID(), ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct{ add, drop, want string }{
		{"", "", strings.Join(defaultCapabilities, " ")},
		{"", "ALL", ""},
		{"NET_ADMIN", "all", "CAP_NET_ADMIN"},
		{"cap_net_admin chown", "ALL", "CAP_CHOWN CAP_NET_ADMIN"},
		{"ALL", "", strings.Join(allCapabilities, " ")},
		{"CAP_ALL", "SYS_ADMIN", strings.Replace(strings.Join(allCapabilities, " "), "CAP_SYS_ADMIN ", "", 1)},
		{"SYS_TIME", "SYS_TIME", strings.Join(defaultCapabilities, " ") + " CAP_SYS_TIME"},
	} {
		got, err := capabilities(&container.HostConfig{CapAdd: strings.Fields(c.add), CapDrop: strings.Fields(c.drop)})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("add %q, drop %q: %v, want %v", c.add, c.drop, got, want)
		}
	}
	if _, err := capabilities(&container.HostConfig{CapAdd: []string{"FLY"}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an unknown capability: %v", err)
	}
}

func TestMergeConfig(t *testing.T) {
	img := &dockerspec.DockerOCIImage{}
	img.Config.ImageConfig = ocispec.ImageConfig{
		User: "web", Env: []string{"PATH=/bin", "A=image", "B=image"}, Entrypoint: []string{"entry"}, Cmd: []string{"cmd"}, WorkingDir: "/srv",
		Labels: map[string]string{"a": "image", "b": "image"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}}, StopSignal: "SIGQUIT",
	}
	for _, c := range []struct {
		name      string
		user      container.Config
		entry, cm []string
	}{
		{"image's", container.Config{}, []string{"entry"}, []string{"cmd"}},
		{"own command", container.Config{Cmd: []string{"x"}}, []string{"entry"}, []string{"x"}},
		{"own entrypoint forgets the image's command", container.Config{Entrypoint: []string{"e"}}, []string{"e"}, nil},
		{"emptied entrypoint", container.Config{Entrypoint: []string{""}, Cmd: []string{"x"}}, nil, []string{"x"}},
	} {
		got, err := mergeConfig(&c.user, img)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Entrypoint, c.entry) || !slices.Equal(got.Cmd, c.cm) {
			t.Errorf("%s: %v %v", c.name, got.Entrypoint, got.Cmd)
		}
	}
	if _, err := mergeConfig(&container.Config{Entrypoint: []string{""}}, img); err == nil || err.Error() != "no command specified" {
		t.Errorf("no command: %v", err)
	}
	user := container.Config{Env: []string{"A=user", "B", "C=user"}, Labels: map[string]string{"b": "user"}, ExposedPorts: network.PortSet{network.MustParsePort("53/udp"): {}}}
	got, err := mergeConfig(&user, img)
	if err != nil {
		t.Fatal(err)
	}
	want := &container.Config{
		User: "web", Env: []string{"PATH=/bin", "A=user", "C=user"}, Entrypoint: []string{"entry"}, Cmd: []string{"cmd"}, WorkingDir: "/srv",
		Labels: map[string]string{"a": "image", "b": "user"}, Volumes: map[string]struct{}{"/data": {}}, StopSignal: "SIGQUIT",
		ExposedPorts: network.PortSet{network.MustParsePort("53/udp"): {}, network.MustParsePort("80/tcp"): {}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b network.PortSet) bool {
		return len(a) == len(b) && func() bool {
			for p := range a {
				if _, ok := b[p]; !ok {
					return false
				}
			}
			return true
		}()
	})); d != "" {
		t.Error(d)
	}
	if len(user.ExposedPorts) != 1 || user.Labels["a"] != "" {
		t.Error("the user's config was changed")
	}
}

func TestMountPoints(t *testing.T) {
	e := &Engine{containers: newRegistry("")}
	dir := t.TempDir()
	got, err := e.mountPoints(&container.Config{Volumes: map[string]struct{}{"/a/b": {}, "/named": {}}}, &container.HostConfig{
		Binds:  []string{dir + ":/a:ro,rshared", "vol:/named:nocopy", "/anonymous"},
		Mounts: []mount.Mount{{Type: mount.TypeTmpfs, Target: "/tmp", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 4096, Mode: 0o1777}}, {Type: mount.TypeBind, Source: dir, Target: "/m/"}},
		Tmpfs:  map[string]string{"/run": "exec,size=1m"},
	}, kernel.Container)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].Anonymous {
			if len(got[i].Name) != 64 {
				t.Errorf("anonymous volume's name %q", got[i].Name)
			}
			got[i].Name = "random"
		}
	}
	want := []mountPoint{
		{Type: mount.TypeBind, Source: dir, Target: "/a", Mode: "ro,rshared", ReadOnly: true, Propagation: "rshared", Create: true},
		{Type: mount.TypeVolume, Name: "random", Target: "/a/b", Anonymous: true},
		{Type: mount.TypeVolume, Name: "random", Target: "/anonymous", Anonymous: true},
		{Type: mount.TypeBind, Source: dir, Target: "/m", Propagation: "rprivate"},
		{Type: mount.TypeVolume, Name: "vol", Target: "/named", Mode: "nocopy", NoCopy: true},
		{Type: mount.TypeTmpfs, Target: "/run", Options: []string{"nosuid", "nodev", "exec", "size=1m"}},
		{Type: mount.TypeTmpfs, Target: "/tmp", Options: []string{"noexec", "nosuid", "nodev", "size=4096", "mode=1777"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, h := range []container.HostConfig{
		{Binds: []string{"/a:b"}}, {Binds: []string{"a:b:c:d"}}, {Binds: []string{":/x"}}, {Binds: []string{"/a:/x:wo"}}, {Binds: []string{"/a:/"}},
		{Binds: []string{"a/b:/x"}}, {Binds: []string{"/a:/x", "/b:/x/"}}, {Binds: []string{"vol:/x:rshared"}}, {VolumesFrom: []string{"nobody"}},
		{Mounts: []mount.Mount{{Type: mount.TypeBind, Source: dir + "/missing", Target: "/x"}}},
		{Mounts: []mount.Mount{{Type: mount.TypeBind, Target: "/x"}}}, {Mounts: []mount.Mount{{Type: "npipe", Target: "/x"}}},
		{Mounts: []mount.Mount{{Type: mount.TypeTmpfs, Source: "/y", Target: "/x"}}}, {Tmpfs: map[string]string{"x": ""}},
	} {
		if m, err := e.mountPoints(&container.Config{}, &h, kernel.Container); err == nil {
			t.Errorf("accepted %v", m)
		}
	}
	if _, err := e.mountPoints(&container.Config{}, &container.HostConfig{Binds: []string{"/a:/x:rshared"}}, kernel.VM); !errdefs.IsInvalidArgument(err) {
		t.Errorf("propagation out of a guest: %v", err)
	}
}

func TestStatusText(t *testing.T) {
	now := time.Now()
	for want, st := range map[string]status{
		"Created":                  {Phase: phaseCreated},
		"Up 3 seconds":             {Phase: phaseRunning, StartedAt: now.Add(-3 * time.Second)},
		"Up 2 minutes (Paused)":    {Phase: phasePaused, StartedAt: now.Add(-2 * time.Minute)},
		"Exited (9) 3 seconds ago": {Phase: phaseExited, ExitCode: 9, StartedAt: now.Add(-time.Hour), FinishedAt: now.Add(-3 * time.Second)},
		"Exited (0) 2 hours ago":   {Phase: phaseStarting, StartedAt: now.Add(-3 * time.Hour), FinishedAt: now.Add(-2 * time.Hour)},
	} {
		if got := st.text(now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStartFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		has  string
	}{
		{&agent.Error{Class: agent.ClassNotFound, Message: `exec: "x": executable file not found in $PATH`}, 127, "executable file not found in $PATH"},
		{&agent.Error{Class: agent.ClassNotFound, Message: "exec /x"}, 127, "no such file or directory"},
		{&agent.Error{Class: agent.ClassNotExecutable, Message: "exec /x"}, 126, "permission denied"},
		{&agent.Error{Class: agent.ClassInvalid, Message: "no user web"}, 128, "no user web"},
		{errors.New("boom"), 128, "boom"},
	} {
		code, err := startFailure(c.err, 128)
		if code != c.code || !strings.Contains(err.Error(), c.has) {
			t.Errorf("%v: %d, %v", c.err, code, err)
		}
		if code != 128 && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v has not the class of a bad request", err)
		}
	}
}

// An address that was asked for and cannot be had is an error, not another one.
func TestAsAsked(t *testing.T) {
	have := []string{"172.30.0.7/16", "fd00::7/64"}
	for want, ok := range map[string]bool{"": true, "172.30.0.7": true, "172.30.0.8": false, "10.0.0.1": false, "fd00::7": true, "fd00::8": false, "fd01::7": false} {
		var p endpoint
		if want != "" {
			p.Address = netip.MustParseAddr(want)
			if p.Address.Is6() {
				p.Address, p.Address6 = p.Address6, p.Address
			}
		}
		if err := p.asAsked(have); (err == nil) != ok {
			t.Errorf("asked for %q, given %s: %v", want, have, err)
		}
	}
	if err := (endpoint{Address: netip.MustParseAddr("10.0.0.1")}).asAsked(have); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "in 172.30.0.0/16; name another with --ip,") {
		t.Errorf("the error is %v", err)
	}
	if err := (endpoint{Address6: netip.MustParseAddr("fd01::1")}).asAsked(have); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "in fd00::/64; name another with --ip6,") {
		t.Errorf("the error is %v", err)
	}
}
