package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/layer"
)

// testStore is a Store with its parts at hand.
type testStore struct {
	*Store
	dir    string
	layers *layer.Store
}

func openStore(t testing.TB, dir string, change ...func(*Config)) *testStore {
	t.Helper()
	layers, err := layer.Open(filepath.Join(dir, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: filepath.Join(dir, "image"), Layers: layers, HostsDir: filepath.Join(dir, "hosts.d"), Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.backoff = 5 * time.Millisecond
	t.Cleanup(func() { s.Close() })
	return &testStore{s, dir, layers}
}

func newStore(t testing.TB, change ...func(*Config)) *testStore {
	t.Helper()
	return openStore(t, t.TempDir(), change...)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// recorder collects events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) progress(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) count(status string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Status == status {
			n++
		}
	}
	return n
}

// startRegistry runs Debian's docker-registry on a free port of the loopback
// and returns its address. A private one asks for ann:secret.
func startRegistry(t testing.TB, private bool) string {
	t.Helper()
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cfg := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %q}\n", dir, addr)
	if private {
		file := filepath.Join(dir, "htpasswd") // bcrypt of "secret"
		writeFile(t, file, []byte("ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"))
		cfg += fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %s}\n", file)
	}
	file := filepath.Join(dir, "config.yml")
	writeFile(t, file, []byte(cfg))
	var out bytes.Buffer
	cmd := exec.Command(bin, "serve", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 200 {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return addr
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not answer: %s", out.String())
	return ""
}

// skopeo runs skopeo with a policy that accepts everything.
func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(bin, append([]string{"--insecure-policy"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// push puts an image of an OCI layout into a registry, byte for byte.
func push(t testing.TB, layout, ref string, flags ...string) {
	t.Helper()
	args := append([]string{"copy", "--dest-tls-verify=false"}, flags...)
	skopeo(t, append(args, "oci:"+layout, "docker://"+ref)...)
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

// wantErr fails the test unless err is of the class is and says all of words.
func wantErr(t testing.TB, err, is error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", is)
	}
	if !errors.Is(err, is) {
		t.Errorf("error %q is not %v", err, is)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// empty fails the test if the store has kept anything: blobs, unfinished
// downloads, layers, records or leases.
func (s *testStore) empty(t testing.TB) {
	t.Helper()
	for _, pattern := range []string{"content/blobs/sha256/*", "content/ingest/*"} {
		found, _ := filepath.Glob(filepath.Join(s.dir, "image", pattern))
		if len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
	}
	found, _ := filepath.Glob(filepath.Join(s.dir, "layers", "*"))
	for _, f := range found {
		if fi, err := os.Stat(f); err == nil && fi.Mode().IsRegular() {
			t.Errorf("left behind: %s", f)
		}
	}
	ctx := s.context(context.Background())
	records, _ := s.images.List(ctx)
	if len(records) > 0 {
		t.Errorf("left behind: records %v", records)
	}
	held, _ := s.leases.List(ctx)
	if len(held) > 0 {
		t.Errorf("left behind: leases %v", held)
	}
}
