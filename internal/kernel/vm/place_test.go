package vm

import (
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
)

func info(t *testing.T, c *agent.Client) agent.InfoResponse {
	t.Helper()
	var i agent.InfoResponse
	if err := c.Call(t.Context(), agent.MethodInfo, nil, &i); err != nil {
		t.Fatal(err)
	}
	return i
}

func TestColdBoot(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	pl.NoTemplate = true
	begin := time.Now()
	k := place(t, p, pl)
	t.Logf("a cold boot took %v", time.Since(begin))
	if i := info(t, k.Agent()); !i.Guest || i.PID != 1 || i.KernelRelease == "" {
		t.Errorf("info: %+v", i)
	}
	begin = time.Now()
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("release took %v", time.Since(begin))
}
