// Package docker proves the Docker Engine API and the flags of docker run, one
// by one and on both walls, and holds the tables of docs/docker.md to that.
//
// The lists are not its own: endpoints come from the API's definition, flags
// from the docker command, which is built of its source. What is in a list and
// has no case here fails.
package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/abode-run/abode/test/harness"
)

// checkout is the engine's, seen from here.
const checkout = "../.."

var (
	engine *harness.Engine
	docker string // the command
	// hub is a registry's address, and private that of one for who logs in.
	hub, private string
	metrics      string // where the daemon serves them
)

const user, password = "ann", "secret"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "docker-command-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if docker, err = buildDocker(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		quiet := log.New(io.Discard, "", 0)
		open, end := serve(registry.New(registry.Logger(quiet)))
		defer end()
		closed, end := serve(authorized(registry.New(registry.Logger(quiet))))
		defer end()
		hub, private = open, closed
		if metrics, err = freeAddress(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return harness.Main(m, &engine, "--metrics-addr", metrics)
	}())
}

// buildDocker builds the docker command of the version that go.mod names. Its
// source has no go.mod, and would be taken for Go 1.16.
func buildDocker(dir string) (string, error) {
	const module = "github.com/docker/cli"
	v, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("cannot find %s: %w", module, err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(v)), "v"), "+")
	path := filepath.Join(dir, "docker")
	cmd := exec.Command("go", "build", "-o", path, "-gcflags="+module+"/...=-lang=go1.26",
		"-ldflags=-s -w -X "+module+"/cli/version.Version="+version, module+"/cmd/docker")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the docker command: %w\n%s", err, out)
	}
	return path, nil
}

// serve serves on an address of the host's that the engine takes for one
// without TLS.
func serve(h http.Handler) (address string, end func()) {
	s := httptest.NewServer(h)
	return s.Listener.Addr().String(), s.Close
}

func authorized(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// A wall is an isolation.
type wall string

var walls = []wall{"container", "vm"}

// result is what a program said and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// call runs docker to its end.
func call(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, docker, args...)
	cmd.Env = engine.Environ()
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// cli runs docker, which must succeed, and returns what it prints.
func cli(t testing.TB, args ...string) string {
	t.Helper()
	r := call(t, "", args...)
	if r.code != 0 {
		t.Fatalf("docker %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// run is cli for docker run behind a wall.
func (w wall) run(t testing.TB, args ...string) string {
	t.Helper()
	return cli(t, append([]string{"run", "--isolation", string(w)}, args...)...)
}

var names struct {
	sync.Mutex
	n int
}

// name is a name that nothing else has. Containers and volumes of it go with
// the test.
func (w wall) name(t testing.TB) string {
	names.Lock()
	defer names.Unlock()
	names.n++
	name := fmt.Sprintf("%s-%d", w, names.n)
	t.Cleanup(func() {
		call(t, "", "rm", "-f", "-v", name)
	})
	return name
}

// equal fails the test, but goes on, when got is not what is wanted.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

// eventually repeats f until it is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
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
