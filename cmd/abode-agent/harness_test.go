package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
)

// TestMain makes the test's own binary the agent that the tests drive.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "host" || os.Args[1] == "+stage") {
		main()
		return
	}
	code := m.Run()
	if rootfsDir != "" {
		os.RemoveAll(rootfsDir)
	}
	os.Exit(code)
}

// host is a running agent of the host.
type hostAgent struct {
	t      testing.TB
	cmd    *exec.Cmd
	run    string
	parent string
	client *agent.Client
}

func startAgent(t testing.TB) *hostAgent {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	run, err := os.MkdirTemp("/tmp", "abode-agent-test-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	h := &hostAgent{t: t, run: run, parent: "abode-test-" + filepath.Base(run)}
	h.cmd = spawnAgent(t, h)
	h.client = newClient(run)
	t.Cleanup(func() {
		h.client.Close()
		h.cmd.Process.Signal(syscall.SIGTERM)
		h.cmd.Wait()
		for _, dir := range h.cgroups() {
			t.Errorf("the cgroup %s is left", dir)
		}
		log, _ := os.ReadFile(filepath.Join(run, "agent.log"))
		stderr, _ := os.ReadFile(filepath.Join(run, "stderr"))
		os.RemoveAll(run)
		if t.Failed() {
			t.Logf("the agent's log:\n%s%s", log, stderr)
		}
	})
	return h
}

func spawnAgent(t testing.TB, h *hostAgent) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "host", "--run", h.run, "--cgroup-parent", h.parent)
	// A file, because what is still written to a pipe is lost with the test.
	stderr, err := os.OpenFile(filepath.Join(h.run, "stderr"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func newClient(run string) *agent.Client {
	return agent.NewClient(func(ctx context.Context) (net.Conn, error) {
		for {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(run, "agent.sock"))
			if err == nil {
				return c, nil
			}
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
}

func itoa(n int) string { return strconv.Itoa(n) }

// secondLayer is a small one to be put above.
func secondLayer(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", "mkdir -p top/opt && mkfs.erofs top.erofs top >/dev/null")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "top.erofs")
}

// cgroups lists what there is below the agent's cgroup parent.
func (h *hostAgent) cgroups() []string {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + h.parent)
	more, _ := filepath.Glob("/sys/fs/cgroup/" + h.parent)
	return append(dirs, more...)
}

func (h *hostAgent) call(method string, req, resp any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return h.client.Call(ctx, method, req, resp)
}

func (h *hostAgent) must(method string, req, resp any) {
	h.t.Helper()
	if err := h.call(method, req, resp); err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
}

var (
	rootfsOnce sync.Once
	rootfsDir  string
	rootfsErr  error
)

// layer is an EROFS image with busybox and a few files.
func layer(t testing.TB) string {
	t.Helper()
	rootfsOnce.Do(func() {
		rootfsDir, rootfsErr = os.MkdirTemp("", "abode-rootfs-")
		if rootfsErr != nil {
			return
		}
		script := `set -e
mkdir -p root/bin root/etc root/tmp root/proc root/data root/usr root/home/app root/dev
cp /usr/bin/busybox root/bin/busybox
for a in $(root/bin/busybox --list); do [ $a = busybox ] || ln -s busybox root/bin/$a; done
echo 'root:x:0:0:root:/root:/bin/sh
app:x:1000:1000::/home/app:/bin/sh' > root/etc/passwd
echo 'root:x:0:
app:x:1000:
audio:x:29:app' > root/etc/group
echo seed > root/data/seed; chown 1000:1000 root/data/seed root/home/app
mkdir root/data/sub; ln -s ../seed root/data/sub/link
echo text > root/etc/plain
ln -s /nowhere/out root/dangling; ln -s /etc root/jump
chmod 1777 root/tmp
ln -sf ../proc/kcore root/etc/kcorelink
mkfs.erofs layer.erofs root >/dev/null
`
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = rootfsDir
		if out, err := cmd.CombinedOutput(); err != nil {
			rootfsErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if rootfsErr != nil {
		t.Fatalf("cannot make a root file system: %v", rootfsErr)
	}
	return filepath.Join(rootfsDir, "layer.erofs")
}

var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

const testOwner = 524288 + 65536*7

var counter int

// container describes one that runs a shell script, as the engine would.
func (h *hostAgent) container(script string) *agent.CreateRequest {
	h.t.Helper()
	counter++
	id := fmt.Sprintf("%s-%d", strings.ToLower(filepath.Base(h.run)), counter)
	upper := filepath.Join(h.run, "state", id)
	if err := os.MkdirAll(upper, 0o711); err != nil {
		h.t.Fatal(err)
	}
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: testOwner, Size: 65536}}
	req := &agent.CreateRequest{
		ID: id, Hostname: "box",
		Rootfs: agent.Rootfs{Layers: []agent.Layer{{Path: layer(h.t)}}, Upper: agent.Upper{Dir: upper}},
		Spec: &specs.Spec{
			Process: &specs.Process{
				Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Cwd: "/",
				Capabilities: &specs.LinuxCapabilities{Bounding: defaultCaps, Effective: defaultCaps, Permitted: defaultCaps},
			},
			Linux: &specs.Linux{
				UIDMappings: maps, GIDMappings: maps,
				Namespaces: []specs.LinuxNamespace{
					{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace},
					{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
				},
				MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"},
				ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			},
		},
	}
	h.t.Cleanup(func() { h.call(agent.MethodDelete, agent.IDRequest{ID: id}, nil) })
	return req
}

// hostUser takes the user namespace away.
func hostUser(req *agent.CreateRequest) {
	req.Spec.Linux.UIDMappings, req.Spec.Linux.GIDMappings = nil, nil
	req.Spec.Linux.Namespaces = req.Spec.Linux.Namespaces[1:]
}

// attached collects a process's output.
type attached struct {
	conn           net.Conn
	stdout, stderr bytes.Buffer
	exit           *agent.Exit // of a stream that tells
	done           chan struct{}
	mu             sync.Mutex
	grown          chan struct{}
}

var allStreams = agent.AttachStreams{Stdin: true, Stdout: true, Stderr: true}

func (h *hostAgent) attach(id, execID string) *attached {
	h.t.Helper()
	return h.stream(agent.MethodAttach, agent.AttachRequest{ProcessRequest: agent.ProcessRequest{ID: id, ExecID: execID}, AttachStreams: allStreams})
}

// stream makes a call that is followed by I/O frames.
func (h *hostAgent) stream(method string, req any) *attached {
	h.t.Helper()
	conn, err := h.client.Stream(context.Background(), method, req, nil)
	if err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
	a := &attached{conn: conn, done: make(chan struct{}), grown: make(chan struct{}, 1)}
	go func() {
		defer close(a.done)
		for {
			kind, p, err := agent.ReadIO(conn, nil)
			if err != nil {
				return
			}
			a.mu.Lock()
			switch kind {
			case agent.IOStdout:
				a.stdout.Write(p)
			case agent.IOStderr:
				a.stderr.Write(p)
			case agent.IOExit:
				a.exit = new(agent.Exit)
				if err := json.Unmarshal(p, a.exit); err != nil {
					h.t.Errorf("an exit frame of %q: %v", p, err)
				}
			}
			a.mu.Unlock()
			select {
			case a.grown <- struct{}{}:
			default:
			}
		}
	}()
	return a
}

// until waits until standard output contains s.
func (a *attached) until(t testing.TB, s string) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		a.mu.Lock()
		ok := strings.Contains(a.stdout.String(), s)
		text := a.stdout.String()
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-a.grown:
		case <-deadline:
			t.Fatalf("no %q in the output: %q", s, text)
		}
	}
}

func (a *attached) out() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stdout.String()
}

func (a *attached) send(kind byte, s string) error { return agent.WriteIO(a.conn, kind, []byte(s)) }

// run runs a container to its end.
func (h *hostAgent) run1(req *agent.CreateRequest) (stdout, stderr string, exit agent.Exit) {
	h.t.Helper()
	var created agent.ProcessResponse
	h.must(agent.MethodCreate, req, &created)
	a := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	<-a.done
	a.conn.Close()
	h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
	return a.stdout.String(), a.stderr.String(), exit
}

// output runs a script in the default container and wants it to succeed.
func (h *hostAgent) output(req *agent.CreateRequest) string {
	h.t.Helper()
	out, stderr, exit := h.run1(req)
	if exit.Code != 0 {
		h.t.Fatalf("exit code %d, stdout %q, stderr %q", exit.Code, out, stderr)
	}
	return out
}
