package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clients are the docker commands that a machine may have: a new one, and the
// one of Debian.
var clients = []string{"/usr/local/bin/docker", "/usr/bin/docker"}

// The unmodified docker command drives the engine, by both isolations, as it
// drives Docker.
func TestDockerCLI(t *testing.T) {
	found := false
	for _, path := range clients {
		if _, err := exec.LookPath(path); err != nil {
			continue
		}
		found = true
		t.Run(version(t, path), func(t *testing.T) {
			for _, isolation := range isolations {
				t.Run(isolation, func(t *testing.T) {
					t.Parallel() // much of it is waiting
					c := client{path, isolation}
					t.Run("run", func(t *testing.T) { t.Parallel(); c.run(t) })
					t.Run("life", func(t *testing.T) { t.Parallel(); c.life(t) })
				})
			}
		})
	}
	if !found {
		t.Fatal("no docker command: run make deps")
	}
}

// version is what docker --version calls itself: "Docker version 28.2.2, ...".
func version(t *testing.T, path string) string {
	r := call(t, "", path, "--version")
	v, _, _ := strings.Cut(strings.TrimPrefix(r.stdout, "Docker version "), ",")
	return v
}

// A client is one docker command, asking for one isolation.
type client struct{ path, isolation string }

// exits runs docker, which must end with the code, and returns what it prints.
func (c client) exits(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := call(t, "to stdin\n", c.path, args...)
	if r.code != code {
		t.Fatalf("docker %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// says is exits for a command that succeeds with exactly this on stdout.
func (c client) says(t *testing.T, want string, args ...string) {
	t.Helper()
	if got := c.exits(t, 0, args...); got != want {
		t.Errorf("docker %s prints\n%q\nwant\n%q", strings.Join(args, " "), got, want)
	}
}

// run holds docker run to its output, its streams and its exit codes.
func (c client) run(t *testing.T) {
	run := func(args ...string) []string {
		return append([]string{"run", "--rm", "--isolation", c.isolation}, args...)
	}
	r := call(t, "", c.path, run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7")...)
	if r.stdout != "out\n" || r.stderr != "err\n" || r.code != 7 {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	c.says(t, "to stdin\nv /tmp guest", run("-i", "-e", "K=v", "-w", "/tmp", "-u", "guest", "busybox", "sh", "-c", "cat; echo $K $PWD $(id -un)")...)
	c.exits(t, 127, run("busybox", "no-such-program")...)
	c.exits(t, 126, run("busybox", "/etc")...)
	c.exits(t, 125, run("--pull=never", "no-such-image", "true")...)
}

// life follows one container from its start to its removal.
func (c client) life(t *testing.T) {
	name := "cli-" + filepath.Base(filepath.Dir(filepath.Dir(c.path))) + "-" + c.isolation
	t.Cleanup(func() { engine.Try("rm", "-f", name) })
	id := c.exits(t, 0, "run", "-d", "--isolation", c.isolation, "--name", name, "--label", "of="+name, "busybox",
		"sh", "-c", "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.1; done")

	c.says(t, name+" busybox "+id, "ps", "--no-trunc", "--filter", "label=of="+name, "--format", "{{.Names}} {{.Image}} {{.ID}}")
	c.says(t, "running "+c.isolation+" /"+name, "inspect", "--format", "{{.State.Status}} {{.HostConfig.Isolation}} {{.Name}}", name)
	c.says(t, "container "+id, "inspect", "--format", "container {{.Id}}", id[:12])

	c.says(t, "inside", "exec", name, "echo", "inside")
	c.says(t, "to stdin", "exec", "-i", name, "cat")
	c.exits(t, 5, "exec", name, "sh", "-c", "exit 5")
	c.exits(t, 0, "top", name)

	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("copied\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	c.exits(t, 0, "cp", file, name+":/tmp/there")
	c.says(t, "copied 640", "exec", name, "sh", "-c", "echo $(cat /tmp/there) $(stat -c %a /tmp/there)")
	c.exits(t, 0, "cp", name+":/tmp/there", file+"-back")
	if got := readFile(t, file+"-back"); got != "copied\n" {
		t.Errorf("cp brings back %q", got)
	}
	c.says(t, "C /tmp\nA /tmp/there", "diff", name)

	c.says(t, name, "stop", name)
	c.says(t, "exited 3", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)
	c.says(t, "3", "wait", name)
	c.says(t, "hello\nbye", "logs", name)
	c.says(t, "", "ps", "-q", "--filter", "label=of="+name)
	c.says(t, id, "ps", "-aq", "--no-trunc", "--filter", "label=of="+name)
	c.says(t, name, "rm", name)
	c.exits(t, 1, "inspect", name)
}

// Images are docker's too: listed, tagged, saved, loaded, pulled, removed.
func TestDockerCLIImages(t *testing.T) {
	r := startRegistry(t, false)
	tag, _ := r.push(t, newLayout(t, "linux/amd64").source(), "app:1")
	for _, path := range clients {
		if _, err := exec.LookPath(path); err != nil {
			continue
		}
		t.Run(version(t, path), func(t *testing.T) {
			c := client{path: path}
			forget(t, "of-docker:1", tag)
			c.exits(t, 0, "tag", "busybox", "of-docker:1")
			c.says(t, "of-docker:1", "images", "--format", "{{.Repository}}:{{.Tag}}", "of-docker")
			archive := filepath.Join(t.TempDir(), "image.tar")
			c.exits(t, 0, "save", "-o", archive, "of-docker:1")
			c.says(t, "Untagged: of-docker:1", "rmi", "of-docker:1")
			c.says(t, "Loaded image: of-docker:1", "load", "-q", "-i", archive)
			c.says(t, tag, "pull", "-q", tag)
			c.says(t, strings.TrimSuffix(looks, "\n"), "run", "--rm", tag)
			c.exits(t, 0, "history", tag)
			c.exits(t, 0, "rmi", tag)
			c.exits(t, 1, "image", "inspect", tag)
		})
	}
}
