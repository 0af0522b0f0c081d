package docker

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestRun proves every flag of docker run.
func TestRun(t *testing.T) {
	features := runFeatures()
	complete(t, runFlags(t), features, 1)
	t.Run("flags", func(t *testing.T) { prove(t, features) })
	checkPage(t, "flags of run", "flag", features)
}

// runFlags are the flags of docker run, as its help lists them when it knows of
// no daemon that they would not be for.
func runFlags(t *testing.T) []string {
	cmd := exec.Command(docker, "--host", "unix:///nowhere", "run", "--help")
	help, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-., )?(--[a-z0-9-]+)`).FindAllStringSubmatch(string(help), -1) {
		flags = append(flags, m[1])
	}
	if len(flags) < 90 {
		t.Fatalf("the help of docker run lists %d flags: %v", len(flags), flags)
	}
	return flags
}

func runFeatures() []feature {
	var all []feature
	for _, g := range groups {
		all = append(all, g.features()...)
	}
	all = append(all, runCases...)
	all = append(all, healthCases()...)
	all = append(all, limitCases()...)
	all = append(all, networkCases()...)
	return append(all, runRefusals()...)
}

// refuses proves that run refuses args in these words, and has made nothing.
func (w wall) refuses(t *testing.T, words string, args ...string) {
	t.Helper()
	name := w.name(t)
	r := call(t, "", append(append([]string{"run", "--isolation", string(w), "--name", name}, args...), "busybox", "true")...)
	said, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.stderr, "docker: "), "Error response from daemon: "), "\n")
	if r.code != 125 && r.code != 1 || said != words {
		t.Errorf("docker run %s: exit code %d, and it says\n%s\nwant\n%s", strings.Join(args, " "), r.code, r.stderr, words)
	}
	if left := cli(t, "ps", "-aq", "--filter", "name="+name); left != "" {
		t.Errorf("docker run %s left a container behind", strings.Join(args, " "))
	}
}
