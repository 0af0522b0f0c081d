package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/mount"
)

func TestVolumes(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	binds, volumes, err := Volumes([]string{"/src:/dst", "/src:/dst:ro,z", "name:/data", "/anonymous", "./rel:/r", "..:/up:ro"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/src:/dst", "/src:/dst:ro,z", "name:/data", filepath.Join(dir, "rel") + ":/r", filepath.Dir(dir) + ":/up:ro"}
	if d := cmp.Diff(want, binds); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]struct{}{"/anonymous": {}}, volumes); d != "" {
		t.Error(d)
	}
	for v, want := range map[string]string{
		"": "invalid empty volume spec", ":": "empty section between colons", ":/x": "empty section between colons",
		"/x:": "empty section between colons", "/a:/b:ro:x": "too many colons", "name:rel": "mount path must be absolute", "rel": "mount path must be absolute",
	} {
		if _, _, err := Volumes([]string{v}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", v, err, want)
		}
	}
}

func TestMount(t *testing.T) {
	for _, c := range []struct {
		value string
		want  mount.Mount
	}{
		{"source=data,target=/x", mount.Mount{Type: mount.TypeVolume, Source: "data", Target: "/x"}},
		{"type=bind,src=/a,dst=/b,readonly", mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/b", ReadOnly: true}},
		{"TYPE=bind,src=/a,destination=/b,ro=0", mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/b"}},
		{"type=bind,src=/a,dst=/b,bind-propagation=rslave", mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/b", BindOptions: &mount.BindOptions{Propagation: "rslave"}}},
		{"type=bind,src=/a,dst=/b,bind-recursive=disabled", mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/b", BindOptions: &mount.BindOptions{NonRecursive: true}}},
		{"type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", mount.Mount{Type: mount.TypeTmpfs, Target: "/t", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o1770}}},
		{"dst=/v,volume-nocopy,volume-label=a=b,volume-subpath=s", mount.Mount{Type: mount.TypeVolume, Target: "/v", VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: map[string]string{"a": "b"}, Subpath: "s"}}},
		{"dst=/v,volume-driver=d,volume-opt=o=1", mount.Mount{Type: mount.TypeVolume, Target: "/v", VolumeOptions: &mount.VolumeOptions{DriverConfig: &mount.Driver{Name: "d", Options: map[string]string{"o": "1"}}}}},
		{`type=bind,"src=/with,comma",dst=/b`, mount.Mount{Type: mount.TypeBind, Source: "/with,comma", Target: "/b"}},
	} {
		got, err := Mount(c.value)
		if err != nil {
			t.Errorf("%s: %v", c.value, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.value, d)
		}
	}
	for value, want := range map[string]string{
		"type=volume":                               "target is required",
		"type=,dst=/x":                              "type is required",
		"dst=/x,nope=1":                             "unexpected key 'nope' in 'nope=1'",
		"dst=/x,bind-nope=1":                        "unexpected key 'bind-nope'",
		"dst=/x,volume":                             "invalid field 'volume' must be a key=value pair",
		"dst=/x,readonly=maybe":                     "invalid value for readonly: maybe",
		"type=bind,src=/a,dst=/b,volume-nocopy":     "cannot mix 'volume-*' options with mount type 'bind'",
		"type=tmpfs,dst=/b,bind-propagation=shared": "cannot mix 'bind-*' options with mount type 'tmpfs'",
		"type=tmpfs,dst=/b,tmpfs-size=big":          "invalid value for tmpfs-size: big",
		"type=tmpfs,dst=/b,tmpfs-mode=9":            "invalid value for tmpfs-mode: 9",
		"":                                          "EOF",
	} {
		if _, err := Mount(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", value, err, want)
		}
	}
}

func TestTmpfs(t *testing.T) {
	want := map[string]string{"/run": "rw,size=64m", "/tmp": ""}
	if d := cmp.Diff(want, Tmpfs([]string{"/run:rw,size=64m", "/tmp"})); d != "" {
		t.Error(d)
	}
}
