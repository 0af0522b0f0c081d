package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// These tests run the real thing: the host's agent, namespaces, a bridge of
// their own, and guests where a kernel for them is in the cache. They need
// root and busybox-static.

var agentBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "abode-engine-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		agentBinary = filepath.Join(dir, "abode-agent")
		cmd := exec.Command("go", "build", "-o", agentBinary, "github.com/abode-run/abode/cmd/abode-agent")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build the agent: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// lab is an engine that can be closed and opened again.
type lab struct {
	*Engine
	t   *testing.T
	cfg Config
	log *bytes.Buffer
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "abode-engine-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // hypervisors are users of their own
		t.Fatal(err)
	}
	var id [3]byte
	rand.Read(id[:])
	l := &lab{t: t, log: &bytes.Buffer{}}
	l.cfg = Config{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Bridge: "abe" + hex.EncodeToString(id[:]), AgentBinary: agentBinary,
		Log: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	l.open()
	t.Cleanup(func() {
		for _, c := range l.containers.all() {
			if err := l.Remove(context.Background(), c.id, RemoveOptions{Force: true, Volumes: true}); err != nil {
				t.Errorf("removing %s: %v", c.id, err)
			}
		}
		l.close()
		if _, err := net.InterfaceByName(l.cfg.Bridge); err == nil {
			t.Error("the bridge is left")
		}
		if b, _ := os.ReadFile("/proc/mounts"); bytes.Contains(b, []byte(dir)) {
			t.Error("mounts are left")
		}
		if left := processes(dir); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		if t.Failed() {
			t.Logf("the engine's log:\n%s", l.log)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	tarball := busybox(t)
	if _, err := l.Images().Import(t.Context(), tarball, "busybox", []string{`CMD ["/bin/sh"]`, "VOLUME /data"}, "", ""); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) open() {
	l.t.Helper()
	e, err := Open(context.Background(), l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Engine = e
}

func (l *lab) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := l.Engine.Close(ctx); err != nil {
		l.t.Errorf("closing the engine: %v", err)
	}
}

// walls returns the isolations to test. Guests need a kernel.
func (l *lab) walls() []kernel.Isolation {
	cache := os.Getenv("ABODE_CACHE")
	if cache == "" {
		cache = "../../.cache"
	}
	debs, _ := filepath.Glob(filepath.Join(cache, "kernel", "linux-image-*.deb"))
	if len(debs) == 0 {
		l.t.Log("no guests here: run hack/assets test")
		return []kernel.Isolation{kernel.Container}
	}
	if _, err := l.Kernels().ImportDeb(context.Background(), debs[0], "", func(string) {}); err != nil {
		l.t.Fatal(err)
	}
	return []kernel.Isolation{kernel.Container, kernel.VM}
}

// processes lists those that name dir in their command line.
func processes(dir string) (list []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); bytes.Contains(b, []byte(dir)) {
			list = append(list, string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
		}
	}
	return list
}

// busybox is a root file system of one program.
func busybox(t *testing.T) io.Reader {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("busybox-static is needed: %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	for _, d := range []string{"bin/", "etc/", "tmp/", "root/", "data/"} {
		add(tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "data/fromimage", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("image\n"))
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\nguest:x:1000:\n"))
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, a := range []string{"sh", "cat", "echo", "sleep", "true", "id", "ls", "touch", "rm", "test", "grep"} {
		add(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// create makes a container of the image busybox.
func (l *lab) create(name string, wall kernel.Isolation, change func(*container.Config, *container.HostConfig), cmd ...string) string {
	l.t.Helper()
	cfg := &container.Config{Image: "busybox", Cmd: cmd}
	host := &container.HostConfig{Isolation: container.Isolation(wall)}
	if change != nil {
		change(cfg, host)
	}
	id, _, err := l.Create(l.t.Context(), name, cfg, host, nil, "")
	if err != nil {
		l.t.Fatal(err)
	}
	return id
}

func (l *lab) start(id string) {
	l.t.Helper()
	if err := l.Start(l.t.Context(), id); err != nil {
		l.t.Fatal(err)
	}
}

// wait returns the exit code of a container's end.
func (l *lab) wait(id string, cond container.WaitCondition) int64 {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	ch, err := l.Wait(ctx, id, cond)
	if err != nil {
		l.t.Fatal(err)
	}
	r, ok := <-ch
	if !ok {
		l.t.Fatalf("container %s did not end: %s", id, l.state(id).Status)
	}
	return r.StatusCode
}

func (l *lab) state(id string) *container.State {
	l.t.Helper()
	res, err := l.Inspect(l.t.Context(), id, false)
	if err != nil {
		l.t.Fatal(err)
	}
	return res.State
}

func (l *lab) logs(id string) string {
	l.t.Helper()
	var b strings.Builder
	err := l.Logs(l.t.Context(), id, LogsOptions{Stdout: true, Stderr: true, Tail: -1}, func(_ byte, p []byte) error {
		b.Write(p)
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return b.String()
}

// exec runs a command in a running container and returns its output.
func (l *lab) exec(id string, cmd ...string) (string, int) {
	l.t.Helper()
	x, err := l.ExecCreate(l.t.Context(), id, container.ExecCreateRequest{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := l.ExecStart(l.t.Context(), x, false, false, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	var c client
	if err := s.Serve(l.t.Context(), &c, false); err != nil {
		l.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, err := l.ExecInspect(l.t.Context(), x)
		if err != nil {
			l.t.Fatal(err)
		}
		if res.ExitCode != nil {
			return c.out.String(), *res.ExitCode
		}
		if time.Now().After(deadline) {
			l.t.Fatal("the execution does not end")
		}
	}
}

// client is one who attaches: what it sends, and what it has got.
type client struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *client) Read(p []byte) (int, error) {
	if c.in == nil {
		return 0, io.EOF
	}
	return c.in.Read(p)
}
func (c *client) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *client) Close() error                { return nil }
