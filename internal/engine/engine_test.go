package engine

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/kernel"
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
			// Output and errors are two pipes: nothing orders one against the other.
			whole := func(got string) bool {
				before, after, found := strings.Cut(got, "bye\n")
				return found && before+after == text
			}
			if got := c.out.String(); !whole(got) {
				t.Errorf("the client got %d bytes that are not the %d written", len(got), len(text)+4)
			}
			if got := l.logs(id); !whole(got) {
				t.Errorf("the log has %d bytes that are not the %d written", len(got), len(text)+4)
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
			if d := cmp.Diff([]string{"volume create", "container create", "container attach", "network connect", "container start", "container die", "network disconnect", "volume destroy", "container destroy"}, seen); d != "" {
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
	if len(st.Networks.Places) > 0 || st.Networks.Tap != "" || c.kernel != nil {
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

// A start in the very moment of the end is a run of its own: its waiters hear
// of its end, and what it holds is its own.
func TestStartAtEnd(t *testing.T) {
	l := newLab(t)
	id := l.create("again", kernel.Container, nil, "sh", "-c", "sleep 0.02; exit 4")
	for range 25 {
		l.start(id)
		ended, err := l.Wait(t.Context(), id, container.WaitConditionNextExit)
		if err != nil {
			t.Fatal(err)
		}
		for { // as soon as ever possible
			err := l.Start(t.Context(), id)
			if err == nil {
				break
			}
			if !errdefs.IsNotModified(err) {
				t.Fatal(err)
			}
		}
		select {
		case r := <-ended:
			if r.StatusCode != 4 {
				t.Fatalf("exit code %d", r.StatusCode)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the first run's waiter never heard of its end")
		}
		if code := l.wait(id, container.WaitConditionNotRunning); code != 4 {
			t.Fatalf("exit code %d", code)
		}
	}
	l.nothingHeld(id)
}
