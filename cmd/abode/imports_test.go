package main

import (
	"os/exec"
	"strings"
	"testing"
)

// allowed are the modules and packages that the CLI may be built from: what
// it needs itself, and what those need. Another one is added here with a
// reason: each costs every start of the CLI.
var allowed = []string{
	"github.com/abode-run/abode/cmd/abode",
	"github.com/abode-run/abode/internal/cli",
	"github.com/abode-run/abode/internal/compare", // it is of clients alone too
	"github.com/abode-run/abode/internal/version",

	"github.com/spf13/cobra", "github.com/spf13/pflag",
	"github.com/moby/moby/client", "github.com/moby/moby/api", "github.com/moby/term",
	"github.com/docker/go-units", "github.com/docker/go-connections",
	"github.com/docker/docker-credential-helpers/client", "github.com/docker/docker-credential-helpers/credentials",
	"github.com/distribution/reference",
	"github.com/containerd/errdefs", // the errors of the API's client; a small module of its own
	"github.com/vbauerster/mpb", "github.com/VividCortex/ewma", "github.com/acarl005/stripansi",
	"github.com/mattn/go-runewidth", "github.com/rivo/uniseg", "github.com/clipperhouse",
	"golang.org/x/sys",

	// What moby/client brings along.
	"github.com/moby/docker-image-spec", "github.com/opencontainers/go-digest", "github.com/opencontainers/image-spec",
	"go.opentelemetry.io", "github.com/felixge/httpsnoop", "github.com/go-logr", "github.com/cespare/xxhash",
}

// refused would be the engine in the CLI, by whatever way it came.
var refused = []string{
	"github.com/abode-run/abode/internal/engine", "github.com/abode-run/abode/internal/api",
	"github.com/abode-run/abode/internal/image", "github.com/abode-run/abode/internal/layer",
	"github.com/abode-run/abode/internal/network", "github.com/abode-run/abode/internal/kernel",
	"github.com/abode-run/abode/internal/runtime", "github.com/abode-run/abode/internal/agent",
	"github.com/abode-run/abode/internal/volume", "github.com/abode-run/abode/internal/state",
	"github.com/abode-run/abode/internal/share", "github.com/abode-run/abode/internal/erofs",
	"github.com/containerd/containerd", "go.etcd.io/bbolt",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatalf("cannot list what the CLI imports: %v", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if under(pkg, refused) {
			t.Errorf("the CLI imports %s: it must talk to the engine by its API alone", pkg)
		} else if !under(pkg, allowed) {
			t.Errorf("the CLI imports %s, which is not on the list of what it may import", pkg)
		}
	}
}

func under(pkg string, list []string) bool {
	for _, p := range list {
		if pkg == p || strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}
