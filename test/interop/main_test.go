// Package interop holds Abode against the programs that others wrote for the
// same formats: registries, archives of other engines and their tools, the
// unmodified docker command, and what watches machines. Whatever crosses such a border has to arrive
// whole and run on both walls.
package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/test/harness"
)

var isolations = []string{"container", "vm"}

var (
	engine   *harness.Engine
	hostsDir string // where the engine looks for registries' hosts.toml
	metrics  string // where the engine serves them
)

func TestMain(m *testing.M) {
	os.Exit(func() (code int) {
		dir, err := os.MkdirTemp("", "interop-hosts-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		hostsDir = dir
		if metrics, err = freeAddress(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		collector, err := newCollector()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer collector.Close()
		os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
		os.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
		return harness.Main(m, &engine, "--hosts-dir", hostsDir, "--metrics-addr", metrics)
	}())
}

// freeAddress is one of loopback on which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// result is what a program said and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// call runs a program, of this machine or the CLI by the name abode, pointed
// at the engine.
func call(t testing.TB, stdin string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if name == "abode" {
		cmd = engine.Command(ctx, args...)
	}
	cmd.Env = engine.Environ()
	cmd.WaitDelay = 10 * time.Second
	return capture(t, cmd, stdin)
}

// capture runs cmd to its end.
func capture(t testing.TB, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// fails runs the CLI, which must fail, and say each of the words on stderr.
func fails(t testing.TB, words []string, args ...string) {
	t.Helper()
	r := call(t, "", "abode", args...)
	if r.code == 0 {
		t.Fatalf("abode %s succeeded:\n%s", strings.Join(args, " "), r.stdout)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("abode %s does not say %q:\n%s", strings.Join(args, " "), w, r.stderr)
		}
	}
}

// forget removes an image when the test ends, whatever became of it.
func forget(t testing.TB, refs ...string) {
	t.Cleanup(func() { engine.Try(append([]string{"rmi", "-f"}, refs...)...) })
}

// onEachWall runs f once per isolation.
func onEachWall(t *testing.T, f func(t *testing.T, isolation string)) {
	t.Helper()
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) { f(t, isolation) })
	}
}

// need finds a program that hack/deps installs.
func need(t testing.TB, names ...string) string {
	t.Helper()
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	t.Fatalf("cannot find %s: run make deps", strings.Join(names, " or "))
	return ""
}

// skopeo runs skopeo, which must succeed, and returns what it prints.
func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	r := call(t, "", need(t, "skopeo"), append([]string{"--insecure-policy"}, args...)...)
	if r.code != 0 {
		t.Fatalf("skopeo %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
