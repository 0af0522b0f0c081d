package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// buildAgent builds the agent's program as it is shipped.
func buildAgent(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "abode-agent")
	cmd := exec.Command("go", "build", "-o", bin, "github.com/abode-run/abode/cmd/abode-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the agent: %v: %s", err, out)
	}
	return bin
}

func image(t *testing.T) kernel.Layer {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", "mkdir -p root/bin root/proc root/sys root/dev && cp /usr/bin/busybox root/bin/sh && ln -s sh root/bin/sleep && mkfs.erofs layer root >/dev/null")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot make an image: %v: %s", err, out)
	}
	st, err := os.Stat(filepath.Join(dir, "layer"))
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Layer{Path: filepath.Join(dir, "layer"), Size: st.Size()}
}

// run places and starts a container that sleeps.
func run(t *testing.T, p *Provider, pl kernel.Placement) (kernel.Kernel, int) {
	t.Helper()
	if err := p.CreateWritable(t.Context(), pl.StateDir, pl.Owner); err != nil {
		t.Fatal(err)
	}
	k, err := p.Place(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	maps := []specs.LinuxIDMapping{{HostID: uint32(pl.Owner), Size: 65536}}
	var created agent.ProcessResponse
	err = k.Agent().Call(t.Context(), agent.MethodCreate, &agent.CreateRequest{
		ID: pl.ID, Rootfs: k.Rootfs(), Log: k.Log(),
		Spec: &specs.Spec{
			Process: &specs.Process{Args: []string{"/bin/sleep", "1000"}, Cwd: "/"},
			Linux: &specs.Linux{UIDMappings: maps, GIDMappings: maps, Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace},
			}},
		},
	}, &created)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Agent().Call(t.Context(), agent.MethodStart, agent.ProcessRequest{ID: pl.ID}, nil); err != nil {
		t.Fatal(err)
	}
	return k, created.PID
}

func TestProvider(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runDir, err := os.MkdirTemp("/tmp", "abode-host-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(runDir)
	cfg := Config{Run: runDir, Agent: buildAgent(t), CgroupParent: "abode-test-" + filepath.Base(runDir)}
	open := func() *Provider {
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	layer := image(t)
	place := func(id string) kernel.Placement {
		state := filepath.Join(runDir, "state-"+id)
		if err := os.Mkdir(state, 0o711); err != nil {
			t.Fatal(err)
		}
		return kernel.Placement{ID: id, StateDir: state, RunDir: runDir, Log: filepath.Join(state, "log"), Owner: 1 << 20, Layers: []kernel.Layer{layer}}
	}
	first := open()
	one := place("one")
	k, pid := run(t, first, one)

	// From here on it stands for a daemon that was killed: it replaces no agent.
	first.current.expected.Store(true)

	// A daemon that starts anew finds the same agent, which keeps the container.
	second := open()
	if err := second.Close(t.Context()); err != nil { // with a container there, the agent stays
		t.Fatal(err)
	}
	second = open()
	again, err := second.Recover(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recover(t.Context(), kernel.Placement{ID: "other"}); !errors.Is(err, kernel.ErrGone) {
		t.Errorf("recover of nothing: %v", err)
	}
	if err := again.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)

	// The agent's death ends what it had, and a successor cleans up.
	two := place("two")
	k2, pid := run(t, second, two)
	var info agent.InfoResponse
	if err := k2.Agent().Call(t.Context(), agent.MethodInfo, agent.Empty{}, &info); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(info.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, k := range []kernel.Kernel{k, k2} {
		select {
		case <-k.Done():
		case <-time.After(30 * time.Second):
			t.Fatal("nobody noticed the agent's death")
		}
	}
	gone(t, pid)
	if _, err := second.Recover(t.Context(), two); !errors.Is(err, kernel.ErrGone) {
		t.Errorf("recover after the agent's death: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := second.Close(ctx); err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + cfg.CgroupParent)
	if len(dirs) != 0 {
		t.Errorf("cgroups are left: %v", dirs)
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), runDir) {
		t.Error("mounts are left")
	}
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives", pid)
		}
	}
}
