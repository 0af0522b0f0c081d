package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/state"
)

func policy(name container.RestartPolicyMode, times int) func(*container.Config, *container.HostConfig) {
	return func(_ *container.Config, h *container.HostConfig) {
		h.RestartPolicy = container.RestartPolicy{Name: name, MaximumRetryCount: times}
	}
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy container.RestartPolicy
		st     status
		want   bool
	}{
		{container.RestartPolicy{}, status{ExitCode: 1}, false},
		{container.RestartPolicy{Name: "no"}, status{ExitCode: 1}, false},
		{container.RestartPolicy{Name: "always"}, status{}, true},
		{container.RestartPolicy{Name: "always"}, status{Stopped: true}, true}, // by a signal with another meaning
		{container.RestartPolicy{Name: "always"}, status{Stopped: true, CalledOff: true}, false},
		{container.RestartPolicy{Name: "unless-stopped"}, status{}, true},
		{container.RestartPolicy{Name: "unless-stopped"}, status{Stopped: true}, false},
		{container.RestartPolicy{Name: "on-failure"}, status{}, false},
		{container.RestartPolicy{Name: "on-failure"}, status{ExitCode: 1, Restarts: 99}, true},
		{container.RestartPolicy{Name: "on-failure"}, status{ExitCode: 1, Stopped: true, CalledOff: true}, false},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}, status{ExitCode: 1, Restarts: 1}, true},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}, status{ExitCode: 1, Restarts: 2}, false},
	} {
		if got := again(c.policy, &c.st); got != c.want {
			t.Errorf("%+v after %+v: %v", c.policy, c.st, got)
		}
	}
}

func TestBackOff(t *testing.T) {
	c := (&Engine{ctx: t.Context()}).container("x", false)
	c.rec = &record{Host: &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "always"}}}
	var st status
	var got []time.Duration
	for i := range 14 {
		ran := time.Second
		if i == 12 {
			ran = restartSettled
		}
		got = append(got, c.plan(&st, ran).delay)
	}
	ms := time.Millisecond
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms, 51200 * ms, time.Minute, time.Minute, 100 * ms, 200 * ms}
	if !slices.Equal(got, want) || st.Restarts != len(want) || !st.Restarting {
		t.Errorf("%v, %+v; want %v", got, st, want)
	}
}

func TestFinalSignals(t *testing.T) {
	for _, c := range []struct {
		stop   string
		signal int
		want   bool
	}{{"", 15, true}, {"", 1, true}, {"SIGQUIT", 3, true}, {"SIGQUIT", 1, false}, {"SIGQUIT", 9, true}} {
		if got := (&record{Config: &container.Config{StopSignal: c.stop}}).final(c.signal); got != c.want {
			t.Errorf("signal %d of one that %q stops: %v", c.signal, c.stop, got)
		}
	}
}

// until waits until what Inspect says satisfies ok.
func (l *lab) until(id, what string, ok func(container.InspectResponse) bool) container.InspectResponse {
	l.t.Helper()
	var res container.InspectResponse
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if res, err = l.Inspect(l.t.Context(), id, false); err != nil {
			l.t.Fatal(err)
		}
		if ok(res) {
			return res
		}
	}
	l.t.Fatalf("%s: never %s: %d restarts, %+v", id, what, res.RestartCount, res.State)
	return res
}

func exited(i container.InspectResponse) bool { return i.State.Status == container.StateExited }

func restarting(i container.InspectResponse) bool { return i.State.Restarting }

func running(i container.InspectResponse) bool { return i.State.Status == container.StateRunning }

// A container that fails is started again as often as its policy says, and who
// waits is told what was asked for.
func TestRestartOnFailure(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		w := string(wall)
		id := l.create("fails-"+w, wall, policy("on-failure", 2), "sh", "-c", "echo ran; exit 3")
		ctx, stop := context.WithCancel(t.Context())
		_, told := l.Events().Subscribe(ctx, time.Time{})
		next, err := l.Wait(t.Context(), id, container.WaitConditionNextExit)
		if err != nil {
			t.Fatal(err)
		}
		l.start(id)
		if r := <-next; r.StatusCode != 3 {
			t.Errorf("%s: the next exit is %d", w, r.StatusCode)
		}
		if code := l.wait(id, container.WaitConditionNotRunning); code != 3 { // the next end, too
			t.Errorf("%s: exit code %d", w, code)
		}
		l.until(id, "ended for good", exited)
		if res, _ := l.Inspect(t.Context(), id, false); res.RestartCount != 2 || res.State.Status != "exited" || res.State.Running || res.State.Restarting {
			t.Errorf("%s: %d restarts, %+v", w, res.RestartCount, res.State)
		}
		if got := l.logs(id); got != "ran\nran\nran\n" {
			t.Errorf("%s: log %q", w, got)
		}
		want := []string{"start", "die", "start", "die", "start", "die"}
		var actions []string
		for late := time.After(10 * time.Second); len(actions) < len(want); { // the last is told after the state
			select {
			case m := <-told:
				if m.Actor.ID == id {
					actions = append(actions, string(m.Action))
				}
				continue
			case <-late:
			}
			break
		}
		stop()
		if !slices.Equal(actions, want) {
			t.Errorf("%s: events %v", w, actions)
		}
	}
}

// A user ends a restart that is to come, and begins anew.
func TestRestartCalledOff(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		w := string(wall)
		id := l.create("loops-"+w, wall, policy("always", 0), "true")
		for what, end := range map[string]func() error{
			"stop": func() error { return l.Stop(t.Context(), id, "", nil) },
			"kill": func() error { return l.Kill(t.Context(), id, "") },
			"term": func() error { return l.Kill(t.Context(), id, "TERM") },
		} {
			l.start(id)
			l.until(id, "restarting", restarting)
			if err := l.Start(t.Context(), id); !errdefs.IsNotModified(err) {
				t.Errorf("%s: start of one that restarts: %v", w, err)
			}
			if err := l.Remove(t.Context(), id, RemoveOptions{}); !errdefs.IsConflict(err) {
				t.Errorf("%s: rm of one that restarts: %v", w, err)
			}
			ended, err := l.Wait(t.Context(), id, container.WaitConditionNotRunning)
			if err != nil {
				t.Fatal(err)
			}
			if err := end(); err != nil {
				t.Errorf("%s: %s of one that restarts: %v", w, what, err)
			}
			<-ended
			if st := l.state(id); st.Status != "exited" || st.Restarting {
				t.Errorf("%s: after %s: %+v", w, what, st)
			}
		}
		if err := l.Stop(t.Context(), id, "", nil); !errdefs.IsNotModified(err) {
			t.Errorf("%s: stop of one that has ended: %v", w, err)
		}
		if res, _ := l.Inspect(t.Context(), id, false); res.RestartCount == 0 {
			t.Errorf("%s: no restarts are told of", w)
		}
		// With no policy any more, its next end is its last.
		l.start(id)
		l.until(id, "restarting", restarting)
		if _, err := l.Update(t.Context(), id, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "no"}}); err != nil {
			t.Fatal(err)
		}
		l.until(id, "ended for good", exited)
		l.nothingHeld(id)
		if _, err := l.Update(t.Context(), id, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "always"}}); err != nil {
			t.Fatal(err)
		}
		l.start(id)
		l.until(id, "restarting", restarting)
		if err := l.Restart(t.Context(), id, "", nil); err != nil {
			t.Errorf("%s: restart: %v", w, err)
		}
		if err := l.Remove(t.Context(), id, RemoveOptions{Force: true, Volumes: true}); err != nil {
			t.Errorf("%s: rm -f: %v", w, err)
		}
	}
	id := l.create("passing", kernel.Container, func(_ *container.Config, h *container.HostConfig) { h.AutoRemove = true }, "true")
	if _, err := l.Update(t.Context(), id, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "always"}}); !errdefs.IsConflict(err) {
		t.Errorf("a policy for one that removes itself: %v", err)
	}
}

// A restart that fails is tried again.
func TestRestartFails(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		w := string(wall)
		dir := filepath.Join(t.TempDir(), "source")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		id := l.create("fails-"+w, wall, func(c *container.Config, h *container.HostConfig) {
			policy("on-failure", 0)(c, h)
			h.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: "/bind"}}
		}, "sh", "-c", "while ! test -e /bind/go; do sleep 0.05; done; exit 1")
		l.start(id)
		if err := os.Rename(dir, dir+"-away"); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir+"-away", "go")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		l.until(id, "restarting in vain", func(i container.InspectResponse) bool {
			return i.State.Restarting && i.RestartCount >= 2 && i.State.Error != ""
		})
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+"-away", dir); err != nil {
			t.Fatal(err)
		}
		if res := l.until(id, "running", running); res.State.Error != "" {
			t.Errorf("%s: %+v", w, res.State)
		}
	}
}

// What ends while no daemon runs is restarted by the next, and what waited
// for its restart goes on to.
func TestRestartByTheNextDaemon(t *testing.T) {
	l := newLab(t)
	walls := l.walls()
	for _, wall := range walls {
		w := string(wall)
		l.start(l.create("ends-"+w, wall, policy("on-failure", 0), "sh", "-c", "test -e /tmp/go && sleep 600; while ! test -e /tmp/go; do sleep 0.05; done; exit 1"))
		l.start(l.create("waits-"+w, wall, policy("always", 0), "true"))
	}
	for _, wall := range walls {
		l.exec("ends-"+string(wall), "sh", "-c", "(sleep 0.5; touch /tmp/go) & true")
		l.until("waits-"+string(wall), "restarting", restarting)
	}
	l.close()
	time.Sleep(time.Second)
	l.open()
	for _, wall := range walls {
		w := string(wall)
		l.until("ends-"+w, "running again", func(i container.InspectResponse) bool { return running(i) && i.RestartCount == 1 })
		before, _ := l.Inspect(t.Context(), "waits-"+w, false)
		l.until("waits-"+w, "restarted", func(i container.InspectResponse) bool { return i.RestartCount > before.RestartCount })
	}
}

// After a reboot, what ran or waited runs again, and what was stopped by hand
// only with the policy always.
func TestRestartAfterReboot(t *testing.T) {
	l := newLab(t)
	was := time.Now().Add(-time.Hour)
	ran := status{Phase: phaseRunning, StartedAt: was, Restarts: 7}
	stopped := status{Phase: phaseExited, StartedAt: was, FinishedAt: was, ExitCode: 137, Stopped: true, CalledOff: true}
	cases := map[string]struct {
		policy container.RestartPolicyMode
		st     status
		runs   bool
	}{
		"always-ran":       {"always", ran, true},
		"always-stopped":   {"always", stopped, true},
		"always-created":   {"always", status{Phase: phaseCreated}, false},
		"unless-ran":       {"unless-stopped", ran, true},
		"unless-stopped":   {"unless-stopped", stopped, false},
		"unless-stopping":  {"unless-stopped", status{Phase: phaseRunning, StartedAt: was, Stopped: true, CalledOff: true}, false},
		"failure-ran":      {"on-failure", ran, true},
		"failure-stopped":  {"on-failure", stopped, false},
		"failure-ended":    {"on-failure", status{Phase: phaseExited, StartedAt: was, FinishedAt: was}, false},
		"failure-waits":    {"on-failure", status{Phase: phaseExited, StartedAt: was, FinishedAt: was, ExitCode: 1, Restarting: true, Restarts: 3, Delay: time.Minute}, true},
		"failure-starting": {"on-failure", status{Phase: phaseStarting, StartedAt: was, FinishedAt: was, ExitCode: 1, Restarting: true, Restarts: 3, Delay: time.Minute}, true},
		"no-ran":           {"no", ran, false},
	}
	ids := map[string]string{}
	for name, c := range cases {
		ids[name] = l.create(name, kernel.Container, policy(c.policy, 0), "sleep", "600")
	}
	l.close()
	for name, c := range cases {
		if err := state.WriteJSON(l.dirs.Records(ids[name], false).State(), c.st); err != nil {
			t.Fatal(err)
		}
	}
	l.open()
	for name, c := range cases {
		if c.runs {
			l.until(name, "running", running)
		} else if st := l.state(name); st.Running || st.Restarting {
			t.Errorf("%s: %+v", name, st)
		}
	}
}
