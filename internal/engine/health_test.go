package engine

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// Checks that find what was found before leave nothing: no execution, and
// nothing written to disk, until the engine closes.
func TestHealthLeavesNothing(t *testing.T) {
	l := newLab(t)
	id := l.create("web", kernel.Container, func(c *container.Config, _ *container.HostConfig) {
		c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "true"}, Interval: 10 * time.Millisecond}
	}, "sleep", "600")
	l.start(id)
	after := func(at time.Time) time.Time {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if log := l.state(id).Health.Log; len(log) == healthResults && log[0].Start.After(at) {
				return log[len(log)-1].Start
			}
		}
		t.Fatal("it is not checked")
		return at
	}
	written := func() time.Time {
		t.Helper()
		info, err := os.Stat(l.dirs.Records(id, false).State())
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	last := after(time.Time{})
	before := written()
	last = after(last)
	if got := written(); !got.Equal(before) {
		t.Errorf("the state was written at %v and at %v", before, got)
	}
	c, err := l.containers.find(id)
	if err != nil {
		t.Fatal(err)
	}
	if list := l.execs.of(c); len(list) > 1 {
		t.Errorf("%d executions are known", len(list))
	}
	l.close()
	l.open()
	if h := l.state(id).Health; h.Status != container.Healthy || len(h.Log) != healthResults || h.Log[len(h.Log)-1].Start.Before(last) {
		t.Errorf("the next engine finds %+v", h)
	}
	after(last)
}

// The agent is told which executions it may forget.
func TestExecsAreForgotten(t *testing.T) {
	l := newLab(t)
	id := l.create("web", kernel.Container, nil, "sleep", "600")
	l.start(id)
	if _, code := l.exec(id, "sh", "-c", "exit 3"); code != 3 {
		t.Fatalf("exit code %d", code)
	}
	c, err := l.containers.find(id)
	if err != nil {
		t.Fatal(err)
	}
	first := l.execs.of(c)[0].id
	client, err := c.running()
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		return client.Call(t.Context(), agent.MethodWait, agent.ProcessRequest{ID: id, ExecID: first}, nil)
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	l.exec(id, "true")
	if err := ask(); !errors.Is(err, &agent.Error{Class: agent.ClassNoContainer}) {
		t.Errorf("the agent knows it still: %v", err)
	}
	if res, err := l.ExecInspect(t.Context(), first); err != nil || res.ExitCode == nil || *res.ExitCode != 3 {
		t.Errorf("%+v, %v", res, err)
	}
}
