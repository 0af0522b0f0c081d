package interop

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image for two platforms is pulled by tag and by digest, runs on both
// walls, is listed under its names and goes with them.
func TestPull(t *testing.T) {
	r := startRegistry(t, false)
	tag, top := r.push(t, newLayout(t, "linux/amd64", "linux/arm64").source(), "team/app:1")
	byDigest := repository(tag) + "@" + top.String()
	forget(t, tag, byDigest)

	lines := strings.Split(engine.Abode(t, "pull", tag), "\n")
	shape := regexp.MustCompile(`^([0-9a-f]{12}|1): [A-Z][A-Za-z ]+$|^1: Pulling from team/app$|^(Digest|Status): \S.*$|^localhost:\S+$`)
	for _, l := range lines {
		if !shape.MatchString(l) {
			t.Errorf("on a pipe, pull prints %q", l)
		}
	}
	for _, want := range []string{"1: Pulling from team/app", "Digest: " + top.String(), "Status: Downloaded newer image for " + tag, tag} {
		if !slices.Contains(lines, want) {
			t.Errorf("pull does not print %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	// One layer may be that of busybox, which the engine has already.
	all := strings.Join(lines, "\n")
	if came, had := strings.Count(all, ": Pull complete"), strings.Count(all, ": Already exists"); came+had != 4 || had > 1 {
		t.Errorf("pull completes %d layers and has %d, want 4:\n%s", came, had, all)
	}
	if again := engine.Abode(t, "pull", tag); !strings.Contains(again, "Status: Image is up to date for "+tag) {
		t.Errorf("the second pull says\n%s", again)
	}

	onEachWall(t, func(t *testing.T, isolation string) {
		if r := call(t, "", "abode", "run", "--rm", "--isolation", isolation, tag); r.stdout != looks || r.code != 0 {
			t.Errorf("exit code %d, stdout\n%s\nwant\n%s\n%s", r.code, r.stdout, looks, r.stderr)
		}
	})

	if out := engine.Abode(t, "pull", "-q", byDigest); out != byDigest {
		t.Errorf("pull by digest prints %q", out)
	}
	if out := engine.Abode(t, "run", "--rm", byDigest, "cat", "/opt/old/new"); out != "new" {
		t.Errorf("run by digest prints %q", out)
	}
	listed := engine.Abode(t, "images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}")
	if !strings.Contains(listed, tag+"@"+top.String()) {
		t.Errorf("images prints\n%s", listed)
	}
	removed := engine.Abode(t, "rmi", tag)
	if !strings.Contains(removed, "Untagged: "+tag) {
		t.Errorf("rmi prints\n%s", removed)
	}
	fails(t, []string{"No such image"}, "inspect", "--type", "image", tag)
}

// A platform that is asked for is the one that comes; one that the image does
// not have is refused by the names of those that it has.
func TestPullPlatform(t *testing.T) {
	r := startRegistry(t, false)
	tag, _ := r.push(t, newLayout(t, "linux/amd64", "linux/arm64").source(), "app:1")
	forget(t, tag)
	architecture := func() string { return engine.Abode(t, "inspect", "--format", "{{.Os}}/{{.Architecture}}", tag) }

	engine.Abode(t, "pull", "--platform", "linux/arm64", tag)
	if a := architecture(); a != "linux/arm64" {
		t.Errorf("the image is of %s", a)
	}
	forget(t, engine.Abode(t, "inspect", "--format", "{{.Id}}", tag)) // it loses its name below
	fails(t, []string{"linux/s390x", "linux/amd64", "linux/arm64"}, "pull", "--platform", "linux/s390x", tag)
	engine.Abode(t, "pull", "--platform", "linux/amd64", tag)
	if a := architecture(); a != "linux/amd64" {
		t.Errorf("the image is of %s", a)
	}
}

// What abode saved goes through skopeo into a registry, and comes back by a
// run that finds the image missing.
func TestSavedToRegistry(t *testing.T) {
	r := startRegistry(t, false)
	archive := filepath.Join(t.TempDir(), "busybox.tar")
	engine.Abode(t, "save", "-o", archive, "busybox")
	want := engine.Abode(t, "inspect", "--format", "{{.Id}}", "busybox")
	onEachWall(t, func(t *testing.T, isolation string) {
		tag, _ := r.push(t, "docker-archive:"+archive, isolation+":1")
		forget(t, tag)
		got := call(t, "", "abode", "run", "--rm", "--isolation", isolation, tag, "echo", "it came")
		if got.stdout != "it came\n" || got.code != 0 {
			t.Errorf("exit code %d, stdout %q\n%s", got.code, got.stdout, got.stderr)
		}
		if !strings.Contains(got.stderr, "Status: ") {
			t.Errorf("run does not show its pull on stderr:\n%s", got.stderr)
		}
		if id := engine.Abode(t, "inspect", "--format", "{{.Id}}", tag); id != want {
			t.Errorf("the image came back as %s, not as %s", id, want)
		}
	})
}

// A private registry lets in who logs in, and nobody else; each refusal says
// what to do.
func TestPrivateRegistry(t *testing.T) {
	r := startRegistry(t, true)
	tag, _ := r.push(t, newLayout(t, "linux/amd64").source(), "private:1", "--dest-creds", user+":"+password)
	forget(t, tag)
	refused := []string{"abode login " + r.addr}

	fails(t, refused, "pull", tag)
	if l := call(t, "a guess\n", "abode", "login", "-u", user, "--password-stdin", r.addr); l.code == 0 || !strings.Contains(strings.ToLower(l.stderr), "password") {
		t.Errorf("login with a wrong password: exit code %d\n%s%s", l.code, l.stdout, l.stderr)
	}
	fails(t, refused, "pull", tag)

	if l := call(t, password+"\n", "abode", "login", "-u", user, "--password-stdin", r.addr); l.code != 0 || !strings.Contains(l.stdout, "Login Succeeded") {
		t.Fatalf("login: exit code %d\n%s%s", l.code, l.stdout, l.stderr)
	}
	engine.Abode(t, "pull", tag)
	if out := engine.Abode(t, "run", "--rm", tag); out+"\n" != looks {
		t.Errorf("the private image prints\n%s", out)
	}
	engine.Abode(t, "rmi", tag)

	engine.Abode(t, "logout", r.addr)
	fails(t, refused, "pull", tag)
}

// A registry that gives out other bytes than it promised is found out, and
// nothing of its image stays. A pull of what is whole again succeeds.
func TestCorruptBlob(t *testing.T) {
	r := startRegistry(t, false)
	l := newLayout(t, "linux/amd64")
	tag, top := r.push(t, l.source(), "app:1")
	forget(t, tag)
	var m ocispec.Manifest
	if err := json.Unmarshal([]byte(readFile(t, r.blob(top))), &m); err != nil {
		t.Fatal(err)
	}
	before := stored(t)
	for what, d := range map[string]digest.Digest{"layer": m.Layers[3].Digest, "config": m.Config.Digest} {
		t.Run(what, func(t *testing.T) {
			good := []byte(readFile(t, r.blob(d)))
			bad := slices.Clone(good)
			bad[len(bad)/2] ^= 1
			writeFile(t, r.blob(d), bad)
			fails(t, []string{tag, "verification failed", "pull again", d.Encoded()[:12]}, "pull", tag)
			if left := added(before, stored(t)); len(left) > 0 {
				t.Errorf("the pull left behind %v", left)
			}
			fails(t, []string{"No such image"}, "inspect", "--type", "image", tag)
			writeFile(t, r.blob(d), good)
		})
	}
	engine.Abode(t, "pull", tag)
	if out := engine.Abode(t, "run", "--rm", tag); out+"\n" != looks {
		t.Errorf("the image prints\n%s", out)
	}
}

// stored lists the engine's blobs, unfinished downloads and layers.
func stored(t testing.TB) (files []string) {
	t.Helper()
	for _, dir := range []string{"images", "layers"} {
		err := filepath.WalkDir(filepath.Join(engine.Root, dir), func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 4 { // busybox: manifest, config, layer, and the layer unpacked
		t.Fatalf("the engine has only %v: this looks in the wrong place", files)
	}
	return files
}

func added(before, after []string) (left []string) {
	for _, f := range after {
		if !slices.Contains(before, f) {
			left = append(left, f)
		}
	}
	return left
}

// A hosts.toml sends pulls to mirrors: a dead one is passed over, the next
// serves the image, and it bears the name that the user gave.
func TestMirror(t *testing.T) {
	r := startRegistry(t, false)
	pushed, top := r.push(t, newLayout(t, "linux/amd64").source(), "library/app:1")
	const host = "mirrored.invalid"
	tag := host + "/library/app:1"
	forget(t, tag, pushed)
	dir := filepath.Join(hostsDir, host)
	t.Cleanup(func() { os.RemoveAll(dir) })

	fails(t, []string{host}, "pull", tag)
	writeFile(t, filepath.Join(dir, "hosts.toml"), []byte(`
server = "https://`+host+`"

[host."http://localhost:1"]
  capabilities = ["pull", "resolve"]

[host."http://`+r.addr+`"]
  capabilities = ["pull", "resolve"]
`))
	engine.Abode(t, "pull", tag)
	if out := engine.Abode(t, "inspect", "--format", "{{json .RepoTags}} {{json .RepoDigests}}", tag); out != `["`+tag+`"] ["`+repository(tag)+"@"+top.String()+`"]` {
		t.Errorf("the image's names are %s", out)
	}
	onEachWall(t, func(t *testing.T, isolation string) {
		if out := engine.Abode(t, "run", "--rm", "--isolation", isolation, tag); out+"\n" != looks {
			t.Errorf("the image prints\n%s", out)
		}
	})
}
