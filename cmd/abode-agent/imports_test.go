package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed are the packages from outside of the standard library that the agent
// is made of. It runs as root, once in memory for each guest and once on every
// start of a container: each addition has to be worth it.
var allowed = []string{
	"github.com/hashicorp/yamux",
	"github.com/moby/sys/user",
	"github.com/opencontainers/runtime-spec/specs-go",
	"github.com/vishvananda/netlink",
	"github.com/vishvananda/netlink/nl",
	"github.com/vishvananda/netns",
	"golang.org/x/sys/unix",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	for _, p := range strings.Fields(string(out)) {
		if strings.HasPrefix(p, "github.com/abode-run/abode/") {
			continue
		}
		if !slices.Contains(allowed, p) {
			t.Errorf("the agent imports %s, which is not on the list", p)
		}
	}
	out, err = exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"net/http", "google.golang.org/grpc", "html/template", "crypto/tls"} {
		if slices.Contains(strings.Fields(string(out)), p) {
			t.Errorf("the agent links %s", p)
		}
	}
}
