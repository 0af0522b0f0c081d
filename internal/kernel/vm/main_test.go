package vm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/abode-run/abode/internal/kernel"
)

// The tests share one root, so that the kernel is imported and each template
// made once. The kernel's package is downloaded once for all runs.
var fixture struct {
	once  sync.Once
	root  string
	agent string // internal/testagent
	real  string // cmd/abode-agent
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if fixture.root != "" {
		os.RemoveAll(fixture.root)
	}
	os.Exit(code)
}

func cacheDir() string { return filepath.Join(os.TempDir(), "abode-test-cache") }

func setUp() error {
	var err error
	if fixture.root, err = os.MkdirTemp("", "abode-vm-test-"); err != nil {
		return err
	}
	fixture.agent, fixture.real = filepath.Join(fixture.root, "testagent"), filepath.Join(fixture.root, "abode-agent")
	for program, pkg := range map[string]string{fixture.agent: "./internal/testagent", fixture.real: "../../../cmd/abode-agent"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build the agent: %w: %s", err, out)
		}
	}
	p, err := New(Config{Root: fixture.root, AgentBinary: fixture.agent})
	if err != nil {
		return err
	}
	debs, _ := filepath.Glob(filepath.Join(cacheDir(), "linux-image-*.deb"))
	if len(debs) == 0 {
		if err := os.MkdirAll(cacheDir(), 0o755); err != nil {
			return err
		}
		out, err := exec.Command("sh", "-c", `cd "$0" && apt-get -q -o APT::Sandbox::User=root download "$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')"`, cacheDir()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot download a guest kernel: %w: %s", err, out)
		}
		debs, _ = filepath.Glob(filepath.Join(cacheDir(), "linux-image-*.deb"))
	}
	_, err = p.Kernels().ImportDeb(context.Background(), debs[0], "", nil)
	return err
}

// provider returns a new provider on the shared root, as after a daemon's
// start, whose guests run the tests' own agent.
func provider(t testing.TB) *Provider { return providerOf(t, &fixture.agent) }

func providerOf(t testing.TB, agent *string) *Provider {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("guests need root")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("guests need QEMU")
	}
	fixture.once.Do(func() { fixture.err = setUp() })
	if fixture.err != nil {
		t.Fatal(fixture.err)
	}
	p, err := New(Config{Root: fixture.root, AgentBinary: *agent, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.templates.mu.Lock()
		keys := make([]string, 0)
		for k := range p.templates.loaded {
			keys = append(keys, k)
		}
		p.templates.mu.Unlock()
		for _, k := range keys {
			p.templates.drop(k)
		}
	})
	return p
}

var nextOwner = 524288

// placement returns one with a writable disk and directories of its own.
func placement(t testing.TB, p *Provider) kernel.Placement {
	t.Helper()
	id, err := randomness(32)
	if err != nil {
		t.Fatal(err)
	}
	state, run := t.TempDir(), t.TempDir()
	nextOwner += 65536
	pl := kernel.Placement{ID: fmt.Sprintf("%x", id), StateDir: state, RunDir: run, Log: filepath.Join(state, "log"), Memory: 128 << 20, Owner: nextOwner}
	if err := p.CreateWritable(t.Context(), state, pl.Owner); err != nil {
		t.Fatal(err)
	}
	return pl
}

// place starts a guest that is gone when the test ends, and checks that nothing is left of it.
func place(t testing.TB, p *Provider, pl kernel.Placement) kernel.Kernel {
	t.Helper()
	k, err := p.Place(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Release(context.Background()); err != nil {
			t.Error(err)
		}
		checkGone(t, pl)
	})
	return k
}

// checkGone checks that no process and no file of a placement is left.
func checkGone(t testing.TB, pl kernel.Placement) {
	t.Helper()
	if pids := findByName("guest=" + processName(pl.ID)); len(pids) != 0 {
		t.Errorf("hypervisors left: %v", pids)
	}
	if pids := findByName(shareName(pl.ID)); len(pids) != 0 {
		t.Errorf("share helpers left: %v", pids)
	}
	if files, _ := os.ReadDir(pl.RunDir); len(files) != 0 {
		t.Errorf("files left: %v", files)
	}
}
