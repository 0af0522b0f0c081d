// Package harness starts engines for tests: the real daemon, with paths and a
// bridge of its own, driven through the real CLI.
package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is a running daemon of one test.
type Engine struct {
	Root, Run, Bridge, Host string

	dir    string
	bin    string
	flags  []string
	daemon *exec.Cmd
	exited chan struct{}
}

// Bin returns the folder of the built programs: ABODE_BIN, or bin in the
// checkout.
func Bin() (string, error) {
	dir := os.Getenv("ABODE_BIN")
	if dir == "" {
		root, err := checkout()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "bin")
	}
	if _, err := os.Stat(filepath.Join(dir, "aboded")); err != nil {
		return "", fmt.Errorf("cannot find the built programs in %s: run make build", dir)
	}
	return dir, nil
}

// Asset returns the path of something that hack/assets made.
func Asset(pattern string) (string, error) {
	cache := os.Getenv("ABODE_CACHE")
	if cache == "" {
		root, err := checkout()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(root, ".cache")
	}
	found, err := filepath.Glob(filepath.Join(cache, pattern))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("cannot find %s in %s: run hack/assets test", pattern, cache)
	}
	return found[len(found)-1], nil
}

func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("cannot find the checkout: no go.mod above the working directory")
}

// New starts an engine. The caller must Close it.
func New() (*Engine, error) { return NewAt("") }

// NewAt is New with the engine's files in a folder below parent ("": the
// system's), and with more flags for the daemon.
func NewAt(parent string, flags ...string) (*Engine, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("an engine needs root: run the tests with sudo make test")
	}
	bin, err := Bin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "abode-test-")
	if err != nil {
		return nil, err
	}
	// Hypervisors run as users of their own and reach their files through here.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	id := make([]byte, 3)
	rand.Read(id)
	e := &Engine{
		Root:   filepath.Join(dir, "root"),
		Run:    filepath.Join(dir, "run"),
		Bridge: "abt" + hex.EncodeToString(id),
		dir:    dir,
		bin:    bin,
		flags:  flags,
	}
	e.Host = "unix://" + filepath.Join(e.Run, "abode.sock")
	if err := e.StartDaemon(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return e, nil
}

// Start starts an engine that ends with the test.
func Start(t testing.TB) *Engine {
	t.Helper()
	return StartAt(t, "")
}

// StartAt is Start with the engine's files in a folder below parent.
func StartAt(t testing.TB, parent string) *Engine {
	t.Helper()
	e, err := NewAt(parent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", e.Log())
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// StartDaemon starts the daemon, on the state that an earlier one may have left.
func (e *Engine) StartDaemon() error {
	if err := os.MkdirAll(e.Run, 0o711); err != nil {
		return err
	}
	log, err := os.OpenFile(e.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	flags := append([]string{"--root", e.Root, "--run", e.Run, "--bridge", e.Bridge, "--host", e.Host}, e.flags...)
	e.daemon = exec.Command(filepath.Join(e.bin, "aboded"), flags...)
	e.daemon.Stdout, e.daemon.Stderr = log, log
	e.daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := e.daemon.Start(); err != nil {
		return err
	}
	e.exited = make(chan struct{})
	go func(d *exec.Cmd, done chan struct{}) { _ = d.Wait(); close(done) }(e.daemon, e.exited)
	deadline := time.Now().Add(30 * time.Second)
	for {
		if conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://")); err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-e.exited:
			return fmt.Errorf("the daemon ended at its start:\n%s", e.Log())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			e.KillDaemon()
			return fmt.Errorf("the daemon does not answer:\n%s", e.Log())
		}
	}
}

// KillDaemon ends the daemon as a crash would.
func (e *Engine) KillDaemon() {
	_ = e.daemon.Process.Kill()
	<-e.exited
}

// StopDaemon ends the daemon as its service manager would.
func (e *Engine) StopDaemon() error {
	_ = e.daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.exited:
		return nil
	case <-time.After(60 * time.Second):
		e.KillDaemon()
		return fmt.Errorf("the daemon did not end on SIGTERM:\n%s", e.Log())
	}
}

// Log returns what the daemon has said last, and then the host's agent.
func (e *Engine) Log() string {
	var all []byte
	for _, path := range []string{e.logPath(), filepath.Join(e.Run, "agent.log")} {
		b, _ := os.ReadFile(path)
		all = append(all, b[max(0, len(b)-16<<10):]...)
	}
	return string(all)
}

func (e *Engine) logPath() string { return filepath.Join(e.dir, "aboded.log") }

// Environ returns the environment that points the CLI at this engine.
func (e *Engine) Environ() []string {
	return append(os.Environ(),
		"ABODE_HOST="+e.Host, "DOCKER_HOST="+e.Host, "DOCKER_CONFIG="+filepath.Join(e.dir, "docker"),
		"PATH="+e.bin+":"+os.Getenv("PATH"))
}

// Command returns a call of the CLI.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, "abode"), args...)
	cmd.Env = e.Environ()
	return cmd
}

// Try runs the CLI and returns its standard output without the last newline.
func (e *Engine) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := e.Command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("abode %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// Abode runs the CLI, which must succeed.
func (e *Engine) Abode(t testing.TB, args ...string) string {
	t.Helper()
	out, err := e.Try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Prepare gives the engine a guest kernel and the image busybox.
func (e *Engine) Prepare() error {
	deb, err := Asset("kernel/linux-image-*")
	if err != nil {
		return err
	}
	if _, err := e.Try("kernel", "import", deb); err != nil {
		return err
	}
	return e.Import("busybox")
}

// Import makes the image NAME from the asset NAME.tar.
func (e *Engine) Import(name string) error {
	tar, err := Asset(name + ".tar")
	if err != nil {
		return err
	}
	_, err = e.Try("import", "--change", `CMD ["/bin/sh"]`, tar, name)
	return err
}

// Close removes every container, ends the daemon and removes its files. It
// reports what was left: processes and mounts below its paths, its bridge.
func (e *Engine) Close() error {
	select {
	case <-e.exited: // a test killed it: only a daemon cleans up properly
		if err := e.StartDaemon(); err != nil {
			return err
		}
	default:
	}
	var errs []error
	ids, err := e.Try("ps", "-aq")
	if err != nil {
		errs = append(errs, err)
	} else if ids != "" {
		_, err = e.Try(append([]string{"rm", "-f", "-v"}, strings.Fields(ids)...)...)
		errs = append(errs, err)
	}
	errs = append(errs, e.StopDaemon(), e.leftovers())
	errs = append(errs, os.RemoveAll(e.dir))
	return errors.Join(errs...)
}
