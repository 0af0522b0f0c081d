package interop

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abode-run/abode/test/harness"
)

// facts are what must be the same wherever an image is, as `inspect` prints it.
type facts struct {
	ID               string
	Os, Architecture string
	RootFS           struct {
		Type   string
		Layers []string
	}
	Config struct {
		User, WorkingDir      string
		Env, Entrypoint, Cmd  []string
		Labels                map[string]string
		Volumes, ExposedPorts map[string]struct{}
	}
}

// Archives go between Docker and Abode both ways, and are the same image.
func TestDockerArchives(t *testing.T) {
	d := startDockerd(t)
	t.Run("docker save", func(t *testing.T) { dockerSave(t, d) })
	t.Run("docker load", func(t *testing.T) { dockerLoad(t, d) })
}

// changes set what a config has, and dockerfile makes layers that add, replace
// and remove.
var changes = []string{
	`ENV GREETING="hello there"`, `LABEL purpose=interop`, `EXPOSE 8080/tcp`, `VOLUME /data`, `WORKDIR /srv`,
	`ENTRYPOINT ["/bin/sh", "-c"]`,
	`CMD ["cat d/changed; find /srv | sort; stat -c '%n %a %u:%g' d d/*; id; pwd; echo $GREETING"]`,
}

const dockerfile = `
FROM base
RUN mkdir -p /srv/d /srv/old && echo 1 > /srv/d/gone && echo 1 > /srv/d/changed && touch /srv/old/file
RUN rm -r d/gone old && echo 2 > d/changed && mkdir old && chown -R guest:2000 d && chmod 2750 d
USER guest
`

// dockerSave loads what Docker built and saved; it prints the same on Docker
// and on both walls.
func dockerSave(t *testing.T, d *dockerd) {
	busybox, err := harness.Asset("busybox.tar")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	d.docker(t, append(args, busybox, "base")...)
	context := t.TempDir()
	writeFile(t, filepath.Join(context, "Dockerfile"), []byte(dockerfile))
	d.docker(t, "build", "-q", "--network=none", "-t", "built:1", "-t", "example.org/team/built:2", context)
	want := d.docker(t, "run", "--rm", "--network=none", "built:1")
	archive := filepath.Join(t.TempDir(), "built.tar")
	d.docker(t, "save", "-o", archive, "built:1", "example.org/team/built:2")

	forget(t, "built:1", "example.org/team/built:2")
	loaded := engine.Abode(t, "load", "-i", archive)
	for _, name := range []string{"built:1", "example.org/team/built:2"} {
		if !strings.Contains(loaded, "Loaded image: "+name) {
			t.Errorf("load does not name %s:\n%s", name, loaded)
		}
		sameFacts(t, d, name)
	}
	onEachWall(t, func(t *testing.T, isolation string) {
		if got := engine.Abode(t, "run", "--rm", "--isolation", isolation, "built:1"); got != want {
			t.Errorf("prints\n%s\nwhere Docker prints\n%s", got, want)
		}
	})
}

// dockerLoad gives Docker what Abode saved: an image that Docker made, and one
// that others made.
func dockerLoad(t *testing.T, d *dockerd) {
	source := filepath.Join(t.TempDir(), "made.tar")
	skopeo(t, "copy", newLayout(t, "linux/amd64").source(), "oci-archive:"+source+":made:1")
	forget(t, "made:1")
	engine.Abode(t, "load", "-i", source)

	archive := filepath.Join(t.TempDir(), "saved.tar")
	engine.Abode(t, "save", "-o", archive, "made:1", "busybox")
	loaded := d.docker(t, "load", "-i", archive)
	for _, name := range []string{"made:1", "busybox:latest"} {
		if !strings.Contains(loaded, "Loaded image: "+name) {
			t.Errorf("docker load does not name %s:\n%s", name, loaded)
		}
		sameFacts(t, d, name)
	}
	if got := d.docker(t, "run", "--rm", "--network=none", "made:1"); got+"\n" != looks {
		t.Errorf("on Docker the image prints\n%s\nwant\n%s", got, looks)
	}
}

// sameFacts compares what Docker and Abode say of an image.
func sameFacts(t *testing.T, d *dockerd, name string) {
	t.Helper()
	of := func(inspect string) string {
		var all []facts
		if err := json.Unmarshal([]byte(inspect), &all); err != nil || len(all) != 1 || all[0].ID == "" {
			t.Fatalf("inspect prints %v\n%s", err, inspect)
		}
		f, _ := json.MarshalIndent(all[0], "", " ")
		return string(f)
	}
	theirs, ours := of(d.docker(t, "image", "inspect", name)), of(engine.Abode(t, "inspect", "--type", "image", name))
	if theirs != ours {
		t.Errorf("of %s, docker says\n%s\nand abode says\n%s", name, theirs, ours)
	}
}

// What Abode saves is an archive of Docker and one of OCI, for a tool that
// knows either.
func TestSavedForSkopeo(t *testing.T) {
	dir := t.TempDir()
	saved := filepath.Join(dir, "saved.tar")
	engine.Abode(t, "tag", "busybox", "for-skopeo:1")
	forget(t, "for-skopeo:1", "from-skopeo:1")
	id := engine.Abode(t, "inspect", "--format", "{{.Id}}", "for-skopeo:1")
	engine.Abode(t, "save", "-o", saved, "for-skopeo:1")

	for _, kind := range []string{"docker-archive", "oci-archive"} {
		t.Run(kind, func(t *testing.T) {
			if got := skopeo(t, "inspect", "--format", "{{.Os}}/{{.Architecture}} {{len .Layers}}", kind+":"+saved); got != "linux/amd64 1" {
				t.Errorf("skopeo inspect prints %q", got)
			}
			back := filepath.Join(dir, kind+".tar")
			skopeo(t, "copy", kind+":"+saved, kind+":"+back+":from-skopeo:1")
			if out := engine.Abode(t, "load", "-i", back); !strings.Contains(out, "Loaded image: from-skopeo:1") {
				t.Errorf("load prints\n%s", out)
			}
			if got := engine.Abode(t, "inspect", "--format", "{{.Id}}", "from-skopeo:1"); got != id {
				t.Errorf("the image came back as %s, not as %s", got, id)
			}
			engine.Abode(t, "rmi", "from-skopeo:1")
		})
	}
}

// An OCI archive that skopeo made, with layers of several compressions, loads
// and runs on both walls.
func TestOCIArchive(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "oci.tar")
	skopeo(t, "copy", newLayout(t, "linux/amd64").source(), "oci-archive:"+archive+":example.org/oci:1")
	forget(t, "example.org/oci:1")
	if out := engine.Abode(t, "load", "-i", archive); !strings.Contains(out, "Loaded image: example.org/oci:1") {
		t.Errorf("load prints\n%s", out)
	}
	onEachWall(t, func(t *testing.T, isolation string) {
		if out := engine.Abode(t, "run", "--rm", "--isolation", isolation, "example.org/oci:1"); out+"\n" != looks {
			t.Errorf("prints\n%s\nwant\n%s", out, looks)
		}
	})
}
