// Package faults breaks the engine on purpose, on both walls: what runs has to
// run on, what died has to be said, and nothing may be left.
package faults

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abode-run/abode/test/harness"
)

var isolations = []string{"container", "vm"}

// start returns an engine with a kernel for guests and the image busybox.
func start(t *testing.T) *harness.Engine {
	t.Helper()
	e := harness.Start(t)
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	return e
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never came true: %s", what)
}

const counter = `i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done`

// kill -9 of the daemon: workloads run on, are listed, logs have no hole, and
// the next daemon stops and removes them.
func TestDaemonKilled(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", isolation, "busybox", "sh", "-c", counter)
	}
	for range 2 {
		e.KillDaemon()
		time.Sleep(time.Second)
		if err := e.StartDaemon(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	for _, isolation := range isolations {
		if out := e.Abode(t, "ps", "--filter", "name="+isolation, "--format", "{{.Status}}"); !strings.HasPrefix(out, "Up") {
			t.Errorf("%s: ps says %q", isolation, out)
		}
		if out := e.Abode(t, "exec", isolation, "echo", "alive"); out != "alive" {
			t.Errorf("%s: exec says %q", isolation, out)
		}
		e.Abode(t, "stop", "-t", "0", isolation)
		lines := strings.Fields(e.Abode(t, "logs", isolation))
		if len(lines) < 50 {
			t.Errorf("%s: only %d lines in the log", isolation, len(lines))
		}
		for i, l := range lines {
			if l != strconv.Itoa(i+1) {
				t.Errorf("%s: line %d of the log is %q: a hole", isolation, i+1, l)
				break
			}
		}
		e.Abode(t, "rm", isolation)
	}
}

// A container that ends while no daemon runs is reported with its exit code.
func TestExitWhileDaemonIsDown(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", isolation, "busybox", "sh", "-c", "sleep 2; echo last words; exit 9")
		e.Abode(t, "run", "-d", "--rm", "--isolation", isolation, "--name", isolation+"-rm", "busybox", "sleep", "2")
	}
	e.KillDaemon()
	time.Sleep(4 * time.Second)
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		if out := e.Abode(t, "wait", isolation); out != "9" {
			t.Errorf("%s: exit code %s, want 9", isolation, out)
		}
		if out := e.Abode(t, "logs", isolation); out != "last words" {
			t.Errorf("%s: logs say %q", isolation, out)
		}
		eventually(t, isolation+"-rm is removed", func() bool {
			out, _ := e.Try("ps", "-aq", "--filter", "name="+isolation+"-rm")
			return out == ""
		})
	}
}

// kill -9 of a hypervisor: its container is reported as died, the others run on.
func TestHypervisorKilled(t *testing.T) {
	e := start(t)
	e.Abode(t, "run", "-d", "--isolation", "vm", "--name", "victim", "busybox", "sleep", "600")
	e.Abode(t, "run", "-d", "--isolation", "vm", "--name", "other", "busybox", "sleep", "600")
	e.Abode(t, "run", "-d", "--isolation", "container", "--name", "third", "busybox", "sleep", "600")
	id := e.Abode(t, "inspect", "-f", "{{.ID}}", "victim")
	pids := processes(e, "qemu-system", id[:12])
	if len(pids) != 1 {
		t.Fatalf("%d hypervisors of the victim, want 1: %v", len(pids), e.Footprint())
	}
	syscall.Kill(pids[0], syscall.SIGKILL)
	eventually(t, "the victim is reported as exited", func() bool {
		out, _ := e.Try("inspect", "-f", "{{.State.Status}}", "victim")
		return out == "exited"
	})
	if out := e.Abode(t, "inspect", "-f", "{{.State.ExitCode}}", "victim"); out == "0" {
		t.Errorf("exit code 0 for a container whose machine was killed")
	}
	for _, other := range []string{"other", "third"} {
		if out := e.Abode(t, "exec", other, "echo", "alive"); out != "alive" {
			t.Errorf("%s: %q", other, out)
		}
	}
	// It starts again, with what it had written.
	e.Abode(t, "start", "victim")
	if out := e.Abode(t, "exec", "victim", "echo", "back"); out != "back" {
		t.Errorf("victim after a new start: %q", out)
	}
}

// kill -9 of the agent of the host: its containers died, VMs run on, new
// containers run.
func TestAgentKilled(t *testing.T) {
	e := start(t)
	e.Abode(t, "run", "-d", "--isolation", "container", "--name", "victim", "busybox", "sleep", "600")
	e.Abode(t, "run", "-d", "--isolation", "vm", "--name", "other", "busybox", "sleep", "600")
	pids := processes(e, "abode-agent", "host")
	if len(pids) != 1 {
		t.Fatalf("%d agents, want 1: %v", len(pids), e.Footprint())
	}
	syscall.Kill(pids[0], syscall.SIGKILL)
	eventually(t, "the victim is reported as exited", func() bool {
		out, _ := e.Try("inspect", "-f", "{{.State.Status}}", "victim")
		return out == "exited"
	})
	if out := e.Abode(t, "exec", "other", "echo", "alive"); out != "alive" {
		t.Errorf("other: %q", out)
	}
	if out := e.Abode(t, "run", "--rm", "busybox", "echo", "new"); out != "new" {
		t.Errorf("a new container: %q", out)
	}
}

// An interrupted or refused run leaves nothing.
func TestInterruptedRuns(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "true") // template and layers are there
		for _, after := range []time.Duration{5, 30, 100, 200, 400} {
			cmd := e.Command(t.Context(), "run", "--rm", "--isolation", isolation, "busybox", "sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after * time.Millisecond)
			cmd.Process.Signal(os.Interrupt)
			cmd.Process.Signal(syscall.SIGTERM)
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			select {
			case <-done:
				continue
			case <-time.After(3 * time.Second):
			}
			// It had started before the signals came; as PID 1 it ignores them.
			for _, id := range strings.Fields(e.Abode(t, "ps", "-q")) {
				e.Abode(t, "rm", "-f", id)
			}
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				cmd.Process.Kill()
				t.Errorf("%s: run did not end, interrupted after %v", isolation, after*time.Millisecond)
			}
		}
		if ids := e.Abode(t, "ps", "-aq"); ids != "" {
			t.Errorf("%s: interrupted runs left containers: %q", isolation, ids)
		}
	}
}

// Two engines with other paths and bridges do not see each other.
func TestTwoEngines(t *testing.T) {
	a, b := start(t), start(t)
	for _, e := range []*harness.Engine{a, b} {
		for _, isolation := range isolations {
			e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "same-"+isolation, "busybox", "sleep", "600")
		}
	}
	if out := a.Abode(t, "ps", "-q"); len(strings.Fields(out)) != 2 {
		t.Errorf("the first engine lists %q", out)
	}
	a.Abode(t, "rm", "-f", "same-container", "same-vm")
	if err := a.StopDaemon(); err != nil {
		t.Error(err)
	}
	for _, isolation := range isolations {
		if out := b.Abode(t, "exec", "same-"+isolation, "echo", "alive"); out != "alive" {
			t.Errorf("%s of the second engine: %q", isolation, out)
		}
	}
}

// processes lists the processes of an engine whose command line has all words.
func processes(e *harness.Engine, words ...string) []int {
	var pids []int
	for _, line := range e.Footprint() {
		rest, ok := strings.CutPrefix(line, "process ")
		if !ok {
			continue
		}
		for _, w := range words {
			ok = ok && strings.Contains(rest, w)
		}
		if ok {
			pid, _, _ := strings.Cut(rest, ":")
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
	}
	return pids
}

// kill -9 of the daemon at any moment of a start: the next daemon either has
// the container, which it stops and removes, or has nothing of it.
func TestDaemonKilledDuringStart(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "true") // template and layers are there
		for i, after := range []time.Duration{2, 10, 20, 35, 60, 120, 250, 600} {
			name := isolation + strconv.Itoa(i)
			cmd := e.Command(t.Context(), "run", "-d", "--isolation", isolation, "--name", name, "-v", "vol-"+isolation+":/vol", "-p", "80", "busybox", "sleep", "600")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after * time.Millisecond)
			e.KillDaemon()
			_ = cmd.Wait()
			if err := e.StartDaemon(); err != nil {
				t.Fatal(err)
			}
			if state, err := e.Try("inspect", "-f", "{{.State.Status}}", name); err == nil {
				switch state {
				case "running":
					if out := e.Abode(t, "exec", name, "echo", "alive"); out != "alive" {
						t.Errorf("%s, killed after %v: exec says %q", isolation, after*time.Millisecond, out)
					}
				case "created", "exited":
				default:
					t.Errorf("%s, killed after %v: the container is %s", isolation, after*time.Millisecond, state)
				}
				e.Abode(t, "rm", "-f", name)
			}
		}
		// What was cut off is gone: the daemon and at most the host's agent run.
		for _, line := range e.Footprint() {
			if strings.Contains(line, "qemu-system") || strings.HasPrefix(line, "mount") {
				t.Errorf("%s: left behind: %s", isolation, line)
			}
		}
	}
}
