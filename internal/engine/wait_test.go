package engine

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/state"
)

// Who finds a container just before it is gone, and waits just after, is
// answered: also while what it had is still being taken away.
func TestWaitTooLate(t *testing.T) {
	e := &Engine{ctx: t.Context(), dirs: state.Dirs{Root: t.TempDir()}, containers: newRegistry("")}
	c := e.container("x", false)
	c.rec = &record{ID: "x", Config: &container.Config{}, Host: &container.HostConfig{}}
	c.st = status{Phase: phaseRunning, ExitCode: 3}
	e.containers.add(c)
	c.gone()
	for _, cond := range []container.WaitCondition{container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved} {
		ch, err := e.Wait(t.Context(), "x", cond)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-ch:
			if r.StatusCode != 3 {
				t.Errorf("%s: exit code %d", cond, r.StatusCode)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: nobody answers", cond)
		}
	}
}
