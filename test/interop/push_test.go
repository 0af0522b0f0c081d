package interop

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/abode-run/abode/test/harness"
)

// What one engine pushes, another pulls: by the same digest, as the same image,
// and it runs on both walls.
func TestPush(t *testing.T) {
	r := startRegistry(t, false)
	tag := r.addr + "/team/box:1"
	forget(t, tag, r.addr+"/team/box:2")
	engine.Abode(t, "tag", "busybox", tag)
	engine.Abode(t, "tag", "busybox", r.addr+"/team/box:2")
	out := strings.Split(engine.Abode(t, "push", tag), "\n")
	last := strings.Fields(out[len(out)-1])
	if out[0] != "The push refers to repository ["+r.addr+"/team/box]" || len(last) != 5 || last[0] != "1:" || last[1] != "digest:" || last[3] != "size:" {
		t.Fatalf("push prints\n%s", strings.Join(out, "\n"))
	}
	byDigest := repository(tag) + "@" + last[2]
	if known := engine.Abode(t, "inspect", "--format", "{{json .RepoDigests}}", tag); known != `["`+byDigest+`"]` {
		t.Errorf("after the push the digests are %s", known)
	}
	if all := engine.Abode(t, "push", "--all-tags", repository(tag)); !strings.Contains(all, "\n1: digest: "+last[2]) || !strings.Contains(all, "\n2: digest: "+last[2]) || !strings.Contains(all, "Layer already exists") {
		t.Errorf("push --all-tags prints\n%s", all)
	}
	if quiet := engine.Abode(t, "push", "-q", tag); quiet != tag {
		t.Errorf("push --quiet prints %q", quiet)
	}
	want := engine.Abode(t, "inspect", "--format", "{{.Id}}", tag)

	other := harness.Start(t)
	other.Abode(t, "pull", byDigest)
	if id := other.Abode(t, "inspect", "--format", "{{.Id}}", byDigest); id != want {
		t.Errorf("the other engine has %s, not %s", id, want)
	}
	if out := other.Abode(t, "run", "--rm", byDigest, "echo", "it came"); out != "it came" {
		t.Errorf("it prints %q", out)
	}
	onEachWall(t, func(t *testing.T, isolation string) {
		if out := engine.Abode(t, "run", "--rm", "--isolation", isolation, byDigest, "echo", "here too"); out != "here too" {
			t.Errorf("it prints %q", out)
		}
	})
	fails(t, []string{"tag does not exist: " + repository(tag) + ":9"}, "push", repository(tag)+":9")
	fails(t, []string{"An image does not exist locally with the tag: nothing"}, "push", "nothing")
	fails(t, []string{"for the platform linux/amd64, not for linux/s390x"}, "push", "--platform", "linux/s390x", tag)
}

// A private registry takes what those push who have logged in, of abode and of
// docker alike.
func TestPushPrivate(t *testing.T) {
	r := startRegistry(t, true)
	tag := r.addr + "/private:1"
	forget(t, tag)
	engine.Abode(t, "tag", "busybox", tag)
	fails(t, []string{"abode login " + r.addr}, "push", tag)
	if l := call(t, password+"\n", "abode", "login", "-u", user, "--password-stdin", r.addr); l.code != 0 {
		t.Fatalf("login: exit code %d\n%s%s", l.code, l.stdout, l.stderr)
	}
	t.Cleanup(func() { engine.Try("logout", r.addr) })
	first := engine.Abode(t, "push", tag)
	digest := first[strings.LastIndex(first, "digest:"):]
	if !strings.Contains(first, ": Pushed") {
		t.Errorf("push prints\n%s", first)
	}
	for _, path := range clients {
		if _, err := exec.LookPath(path); err != nil {
			continue
		}
		again := call(t, "", path, "push", tag)
		if again.code != 0 || !strings.Contains(again.stdout, ": Layer already exists") || !strings.HasSuffix(strings.TrimSpace(again.stdout), digest) {
			t.Errorf("%s push: exit code %d\n%s%s", path, again.code, again.stdout, again.stderr)
		}
		lost := call(t, "", path, "push", r.addr+"/lost:1")
		if lost.code != 1 || !strings.Contains(lost.stderr, "An image does not exist locally with the tag: "+r.addr+"/lost") {
			t.Errorf("%s push of nothing: exit code %d\n%s%s", path, lost.code, lost.stdout, lost.stderr)
		}
		if lines := strings.Split(call(t, "", path, "push", "-q", tag).stdout, "\n"); !slices.Equal(lines, []string{tag, ""}) {
			t.Errorf("%s push -q prints %q", path, lines)
		}
	}
}
