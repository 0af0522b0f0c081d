package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/state"
)

// A life, on each wall: attached before it starts, so that not a byte is
// missing; its end, its log, its events.
func TestLife(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		t.Run(string(wall), func(t *testing.T) {
			_, live := l.Events().Subscribe(t.Context(), time.Time{})
			id := l.create("life-"+string(wall), wall, func(c *container.Config, h *container.HostConfig) {
				c.OpenStdin, c.StdinOnce, c.Labels = true, true, map[string]string{"k": "v"}
			}, "sh", "-c", "cat; echo bye >&2; exit 7")
			s, err := l.Attach(t.Context(), id, AttachOptions{Stdin: true, Stdout: true, Stderr: true, Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Repeat("0123456789abcdef\n", 20000)
			c := &client{in: strings.NewReader(text)}
			served := make(chan error, 1)
			go func() { served <- s.Serve(t.Context(), c, false) }()
			ended, err := l.Wait(t.Context(), id, container.WaitConditionNextExit)
			if err != nil {
				t.Fatal(err)
			}
			l.start(id)
			if r := <-ended; r.StatusCode != 7 {
				t.Errorf("exit code %d", r.StatusCode)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if got := c.out.String(); got != text+"bye\n" {
				t.Errorf("the client got %d bytes, want %d", len(got), len(text)+4)
			}
			if got := l.logs(id); got != text+"bye\n" {
				t.Errorf("the log has %d bytes, want %d", len(got), len(text)+4)
			}
			st := l.state(id)
			if st.Status != "exited" || st.Running || st.ExitCode != 7 || st.Error != "" || st.FinishedAt < st.StartedAt {
				t.Errorf("%+v", st)
			}
			if err := l.Stop(t.Context(), id, "", nil); !errdefs.IsNotModified(err) {
				t.Errorf("stopping what has ended: %v", err)
			}
			if err := l.Remove(t.Context(), id, RemoveOptions{Volumes: true}); err != nil {
				t.Error(err)
			}
			var seen []string
			for len(seen) == 0 || seen[len(seen)-1] != "container destroy" {
				m := <-live
				seen = append(seen, string(m.Type)+" "+string(m.Action))
				if m.Action == events.ActionDie && (m.Actor.Attributes["exitCode"] != "7" || m.Actor.Attributes["k"] != "v") {
					t.Errorf("%+v", m.Actor)
				}
			}
			if d := cmp.Diff([]string{"volume create", "container create", "container attach", "container start", "container die", "volume destroy", "container destroy"}, seen); d != "" {
				t.Error(d)
			}
			if vs, _ := l.Volumes().List(); len(vs) != 0 {
				t.Errorf("volumes are left: %v", vs)
			}
		})
	}
}

// Verbs on a running container, on each wall.
func TestVerbs(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		t.Run(string(wall), func(t *testing.T) {
			ctx := t.Context()
			id := l.create("verbs-"+string(wall), wall, nil, "sh", "-c", "trap 'exit 3' TERM; echo up; while true; do sleep 0.1; done")
			l.start(id)
			if err := l.Start(ctx, id); !errdefs.IsNotModified(err) {
				t.Errorf("a second start: %v", err)
			}
			if err := l.Remove(ctx, id, RemoveOptions{}); !errdefs.IsConflict(err) {
				t.Errorf("removing what runs: %v", err)
			}
			if out, code := l.exec(id, "sh", "-c", "echo $0 in; cat /data/fromimage; exit 5", "x"); out != "x in\nimage\n" || code != 5 {
				t.Errorf("exec: %q, %d", out, code)
			}
			x, err := l.ExecCreate(ctx, id, container.ExecCreateRequest{Cmd: []string{"nosuch"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.ExecStart(ctx, x, true, false, nil); err == nil || !strings.Contains(err.Error(), "executable file not found in $PATH") {
				t.Errorf("exec of nothing: %v", err)
			}
			if res, _ := l.ExecInspect(ctx, x); res.ExitCode == nil || *res.ExitCode != 127 {
				t.Errorf("exec of nothing: %+v", res)
			}
			if err := l.Pause(ctx, id); err != nil {
				t.Fatal(err)
			}
			if _, err := l.ExecCreate(ctx, id, container.ExecCreateRequest{Cmd: []string{"true"}}); !errdefs.IsConflict(err) {
				t.Errorf("exec while paused: %v", err)
			}
			if st := l.state(id); st.Status != "paused" || !st.Running {
				t.Errorf("%+v", st)
			}
			if err := l.Unpause(ctx, id); err != nil {
				t.Fatal(err)
			}
			st, err := l.Stats(ctx, id)
			if err != nil || st.MemoryStats.Usage == 0 || st.PidsStats.Current == 0 {
				t.Errorf("stats: %+v, %v", st, err)
			}
			top, err := l.Top(ctx, id, "")
			if err != nil || len(top.Processes) == 0 {
				t.Errorf("top: %+v, %v", top, err)
			}
			if _, err := l.Update(ctx, id, container.UpdateConfig{Resources: container.Resources{Memory: 96 << 20}}); err != nil {
				t.Errorf("update: %v", err)
			}
			if err := l.Rename(ctx, id, "renamed-"+string(wall)); err != nil {
				t.Error(err)
			}
			list, err := l.List(ctx, ListOptions{Filters: map[string]map[string]bool{"name": {"^/renamed-" + string(wall) + "$": true}}})
			if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Status, "Up ") || list[0].Image != "busybox" || list[0].NetworkSettings.Networks["bridge"].IPAddress.String() == "" {
				t.Errorf("list: %+v, %v", list, err)
			}
			if err := l.Restart(ctx, id, "", nil); err != nil {
				t.Fatal(err)
			}
			// As process 1 it ignores signals until it has set its trap.
			for deadline := time.Now().Add(30 * time.Second); l.logs(id) != "up\nup\n"; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the log of two runs: %q", l.logs(id))
				}
			}
			ten := 10
			if err := l.Stop(ctx, id, "", &ten); err != nil {
				t.Fatal(err)
			}
			if st := l.state(id); st.ExitCode != 3 {
				t.Errorf("exit code %d after SIGTERM, want the trap's 3", st.ExitCode)
			}
			if err := l.Kill(ctx, id, ""); !errdefs.IsConflict(err) {
				t.Errorf("killing what has ended: %v", err)
			}
			l.start(id)
			if err := l.Kill(ctx, id, "KILL"); err != nil {
				t.Fatal(err)
			}
			if st := l.state(id); st.ExitCode != 137 || st.Running {
				t.Errorf("after SIGKILL: %+v", st)
			}
		})
	}
}

// A program that cannot be started: Docker's codes and texts, and nothing left.
func TestStartFails(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		for _, c := range []struct {
			cmd, has string
			code     int
		}{
			{"nosuch", "executable file not found in $PATH", 127},
			{"/no/such", "no such file or directory", 127},
			{"/etc/passwd", "permission denied", 126},
		} {
			id := l.create("", wall, nil, c.cmd)
			err := l.Start(t.Context(), id)
			if err == nil || !strings.Contains(err.Error(), c.has) || !errdefs.IsInvalidArgument(err) {
				t.Errorf("%s, %s: %v", wall, c.cmd, err)
			}
			if st := l.state(id); st.Status != "created" || st.ExitCode != c.code || !strings.Contains(st.Error, c.has) {
				t.Errorf("%s, %s: %+v", wall, c.cmd, st)
			}
			l.nothingHeld(id)
		}
		id := l.create("", wall, func(_ *container.Config, h *container.HostConfig) { h.AutoRemove = true }, "nosuch")
		if err := l.Start(t.Context(), id); err == nil {
			t.Error("it started")
		}
		if _, err := l.Inspect(t.Context(), id, false); !errdefs.IsNotFound(err) {
			t.Errorf("%s: a failed start of a container that is to be removed: %v", wall, err)
		}
	}
}

// nothingHeld says that a container that does not run holds nothing of the host.
func (l *lab) nothingHeld(id string) {
	l.t.Helper()
	c, err := l.containers.find(id)
	if err != nil {
		l.t.Fatal(err)
	}
	rec, st := c.snapshot()
	if st.Attachment != nil || c.kernel != nil {
		l.t.Errorf("container %s: %+v", id, st)
	}
	if _, err := os.Stat(l.dirs.RunDir(runName(rec.Isolation), id)); !errors.Is(err, os.ErrNotExist) {
		l.t.Errorf("container %s has a run directory: %v", id, err)
	}
	if left := processes(id); len(left) > 0 {
		l.t.Errorf("container %s has processes: %v", id, left)
	}
}

// A request that is cancelled at whatever moment leaves a container that
// either runs or holds nothing, and can be started.
func TestStartCancelled(t *testing.T) {
	l := newLab(t)
	id := l.create("cancelled", kernel.Container, nil, "sleep", "60")
	for after := time.Duration(0); after < 120*time.Millisecond; after += 4 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := l.Start(ctx, id)
		cancel()
		if err == nil {
			if err := l.Kill(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}
		l.nothingHeld(id)
	}
	l.start(id)
}

// A stop, and a kill, end a start that is under way.
func TestStopWhileStarting(t *testing.T) {
	l := newLab(t)
	id := l.create("slow", kernel.Container, nil, "sleep", "60")
	for i := range 20 {
		started := make(chan error, 1)
		go func() { started <- l.Start(t.Context(), id) }()
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		zero := 0
		if err := l.Stop(t.Context(), id, "", &zero); err != nil && !errdefs.IsNotModified(err) {
			t.Fatal(err)
		}
		<-started
		if err := l.Stop(t.Context(), id, "", &zero); err != nil && !errdefs.IsNotModified(err) {
			t.Fatal(err)
		}
		l.nothingHeld(id)
	}
}

// Files of a container, while it runs and when it does not, on each wall.
func TestFiles(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		t.Run(string(wall), func(t *testing.T) {
			ctx := t.Context()
			id := l.create("files-"+string(wall), wall, nil, "sleep", "60")
			for _, running := range []bool{false, true, false} {
				if running {
					l.start(id)
				}
				name := "new" + strconv.FormatBool(running)
				var b bytes.Buffer
				w := tar.NewWriter(&b)
				w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Size: 5})
				w.Write([]byte("hello"))
				w.Close()
				if err := l.Extract(ctx, id, "/root", ExtractOptions{}, &b); err != nil {
					t.Fatal(err)
				}
				st, err := l.StatPath(ctx, id, "/root/"+name)
				if err != nil || st.Size != 5 || st.Mode != 0o640 || st.Name != name {
					t.Errorf("stat: %+v, %v", st, err)
				}
				r, _, err := l.Archive(ctx, id, "/root/"+name)
				if err != nil {
					t.Fatal(err)
				}
				tr := tar.NewReader(r)
				h, err := tr.Next()
				if err != nil || h.Name != name {
					t.Errorf("archive: %+v, %v", h, err)
				}
				if got, _ := io.ReadAll(tr); string(got) != "hello" {
					t.Errorf("archive: %q", got)
				}
				r.Close()
				if _, err := l.StatPath(ctx, id, "/nowhere"); !errdefs.IsNotFound(err) {
					t.Errorf("stat of nothing: %v", err)
				}
				changes, err := l.Changes(ctx, id)
				found := false
				for _, c := range changes {
					found = found || c.Path == "/root/"+name && c.Kind == container.ChangeAdd
				}
				if err != nil || !found {
					t.Errorf("changes: %v, %v", changes, err)
				}
				if running {
					if err := l.Kill(ctx, id, ""); err != nil {
						t.Fatal(err)
					}
				}
				l.nothingHeld(id)
			}
			r, err := l.Export(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for tr := tar.NewReader(r); ; {
				h, err := tr.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				names[strings.Trim(h.Name, "./")] = true
			}
			r.Close()
			if !names["bin/busybox"] || !names["root/newtrue"] {
				t.Errorf("the export lacks files: %d names", len(names))
			}
		})
	}
}

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
	borrowed := l.create("borrowed", kernel.Container, nil, "true")
	halfCreated := l.create("half", kernel.Container, nil, "true")
	l.close()
	write := func(id string, st status) {
		t.Helper()
		if err := state.WriteJSON(l.dirs.Container(id).State(), st); err != nil {
			t.Fatal(err)
		}
	}
	write(removing, status{Phase: phaseRemoving})
	write(starting, status{Phase: phaseStarting})
	write(running, status{Phase: phaseRunning, StartedAt: time.Now().Add(-time.Minute)})
	write(borrowed, status{Phase: phaseCreated, Borrowed: true})
	if err := os.Remove(l.dirs.Container(halfCreated).State()); err != nil {
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
	for _, id := range []string{created, starting, borrowed} {
		if st := l.state(id); st.Status != "created" {
			t.Errorf("%+v", st)
		}
		l.start(id)
		l.wait(id, container.WaitConditionNotRunning)
	}
	if vs, _ := l.Volumes().List(); len(vs) != 5 { // an anonymous one each, but the half-created's
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
