package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/state"
)

// What runs goes on without a daemon and is taken over; what ended meanwhile
// is reported with its code; what is to be removed is.
func TestRecovery(t *testing.T) {
	l := newLab(t)
	ids := map[string]string{}
	walls := l.walls()
	for _, wall := range walls {
		w := string(wall)
		ids["runs-"+w] = l.create("runs-"+w, wall, nil, "sh", "-c", "echo one; sleep 600")
		ids["ends-"+w] = l.create("ends-"+w, wall, nil, "sh", "-c", "while ! test -e /tmp/go; do sleep 0.05; done; echo last; exit 9")
		ids["rm-"+w] = l.create("rm-"+w, wall, func(_ *container.Config, h *container.HostConfig) { h.AutoRemove = true }, "sh", "-c", "while ! test -e /tmp/go; do sleep 0.05; done; sleep 1")
		for _, n := range []string{"runs-", "ends-", "rm-"} {
			l.start(ids[n+w])
		}
	}
	for _, wall := range walls {
		l.exec("ends-"+string(wall), "sh", "-c", "(sleep 0.5; touch /tmp/go) & true")
		l.exec("rm-"+string(wall), "sh", "-c", "(sleep 0.5; touch /tmp/go) & true")
	}
	l.close()
	time.Sleep(1500 * time.Millisecond)
	l.open()
	for _, wall := range walls {
		w := string(wall)
		if st := l.state("runs-" + w); !st.Running {
			t.Errorf("%s: %+v", w, st)
		}
		if out, _ := l.exec("runs-"+w, "echo", "alive"); out != "alive\n" {
			t.Errorf("%s: %q", w, out)
		}
		if code := l.wait("ends-"+w, container.WaitConditionNotRunning); code != 9 {
			t.Errorf("%s: exit code %d, want 9", w, code)
		}
		if got := l.logs("ends-" + w); got != "last\n" {
			t.Errorf("%s: log %q", w, got)
		}
		if ch, err := l.Wait(t.Context(), "rm-"+w, container.WaitConditionRemoved); err == nil {
			<-ch
		}
		if _, err := l.Inspect(t.Context(), "rm-"+w, false); !errdefs.IsNotFound(err) {
			t.Errorf("%s: the container that removes itself is still there: %v", w, err)
		}
		l.nothingHeld(ids["ends-"+w])
	}
}

// What a crash leaves half done is undone or finished.
func TestHalfDone(t *testing.T) {
	l := newLab(t)
	created := l.create("created", kernel.Container, nil, "true")
	removing := l.create("removing", kernel.Container, nil, "true")
	starting := l.create("starting", kernel.Container, nil, "true")
	running := l.create("running", kernel.Container, nil, "true")
	ending := l.create("ending", kernel.Container, nil, "true")
	borrowed := l.create("borrowed", kernel.Container, nil, "true")
	halfCreated := l.create("half", kernel.Container, nil, "true")
	l.close()
	write := func(id string, st status) {
		t.Helper()
		if err := state.WriteJSON(l.dirs.Records(id, false).State(), st); err != nil {
			t.Fatal(err)
		}
	}
	write(removing, status{Phase: phaseRemoving})
	write(starting, status{Phase: phaseStarting})
	write(running, status{Phase: phaseRunning, StartedAt: time.Now().Add(-time.Minute)})
	write(ending, status{Phase: phaseRunning, StartedAt: time.Now().Add(-time.Minute), Ended: &ended{agent.Exit{Code: 9, At: time.Now()}, ""}})
	write(borrowed, status{Phase: phaseCreated, Borrowed: true})
	if err := os.Remove(l.dirs.Records(halfCreated, false).State()); err != nil {
		t.Fatal(err)
	}
	gone := l.dirs.Container(created).Removed()
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	l.open()
	for _, id := range []string{removing, halfCreated} {
		if _, err := l.Inspect(t.Context(), id, false); !errdefs.IsNotFound(err) {
			t.Errorf("container %s is there: %v", id, err)
		}
		if _, err := os.Stat(string(l.dirs.Container(id))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("directory of %s: %v", id, err)
		}
	}
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was being removed is there: %v", err)
	}
	if st := l.state(running); st.Status != "exited" || st.ExitCode != 137 || st.Error == "" {
		t.Errorf("what ran when the machine ended: %+v", st)
	}
	if st := l.state(ending); st.Status != "exited" || st.ExitCode != 9 || st.Error != "" {
		t.Errorf("what had ended, and was being taken away: %+v", st)
	}
	for _, id := range []string{created, starting, borrowed} {
		if st := l.state(id); st.Status != "created" {
			t.Errorf("%+v", st)
		}
		l.start(id)
		l.wait(id, container.WaitConditionNotRunning)
	}
	if vs, _ := l.Volumes().List(); len(vs) != 6 { // an anonymous one each, but the half-created's
		t.Errorf("%d volumes", len(vs))
	}
	if err := l.RemoveVolume(t.Context(), mountName(l, created), false); !errdefs.IsConflict(err) {
		t.Errorf("removing a volume in use: %v", err)
	}
	if _, err := l.RemoveImage(t.Context(), "busybox", false); !errdefs.IsConflict(err) {
		t.Errorf("removing an image in use: %v", err)
	}
	if _, err := Open(t.Context(), l.cfg); err == nil || !strings.Contains(err.Error(), "another --root") {
		t.Errorf("a second engine of one root: %v", err)
	}
}

func mountName(l *lab, id string) string {
	l.t.Helper()
	res, err := l.Inspect(l.t.Context(), id, false)
	if err != nil || len(res.Mounts) == 0 {
		l.t.Fatalf("%+v, %v", res.Mounts, err)
	}
	return res.Mounts[0].Name
}

// kill -9 of the agent: its containers died, and others can be started.
func TestAgentKilled(t *testing.T) {
	l := newLab(t)
	id := l.create("victim", kernel.Container, nil, "sleep", "600")
	l.start(id)
	ended, err := l.Wait(t.Context(), id, container.WaitConditionNextExit)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range agentProcesses(t, l.cfg.Run) {
		syscall.Kill(p, syscall.SIGKILL)
	}
	if r := <-ended; r.StatusCode != 137 {
		t.Errorf("exit code %d", r.StatusCode)
	}
	if st := l.state(id); st.Status != "exited" || st.Error == "" {
		t.Errorf("%+v", st)
	}
	l.nothingHeld(id)
	l.start(id)
	if out, _ := l.exec(id, "echo", "back"); out != "back\n" {
		t.Errorf("%q", out)
	}
}

// agentProcesses returns the processes of the host's agent of one run directory.
func agentProcesses(t *testing.T, run string) (pids []int) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		args := strings.Split(readString(f), "\x00")
		if len(args) > 1 && args[1] == "host" && strings.Contains(strings.Join(args, " "), run) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no agent found")
	}
	return pids
}

func readString(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}
