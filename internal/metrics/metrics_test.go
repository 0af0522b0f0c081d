package metrics

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/kernel"
)

func figures() engine.Figures {
	return engine.Figures{
		Containers: map[kernel.Isolation]map[container.ContainerState]int{
			kernel.Container: {container.StateRunning: 3, container.StateExited: 0}, kernel.VM: {container.StateRunning: 1},
		},
		Ready: map[kernel.Isolation]int{kernel.Container: 2, kernel.VM: 0},
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(figures, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return string(b)
}

func TestScrape(t *testing.T) {
	m := New()
	steps := []engine.Step{{Name: "network", Took: 4 * time.Millisecond}, {Name: "kernel", Took: 50 * time.Millisecond}}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { m.Started(kernel.VM, 60*time.Millisecond, steps) })
		wg.Go(func() { m.Ended(kernel.VM) })
	}
	wg.Wait()
	m.StartFailed(kernel.Container)
	text := scrape(t, m)
	for _, want := range []string{
		`abode_container_starts_total{isolation="vm"} 10`,
		`abode_container_starts_total{isolation="container"} 1`,
		`abode_container_start_failures_total{isolation="container"} 1`,
		`abode_container_start_failures_total{isolation="vm"} 0`,
		`abode_container_exits_total{isolation="vm"} 10`,
		`abode_container_exits_total{isolation="container"} 0`,
		`abode_container_start_seconds_bucket{isolation="vm",le="0.05"} 0`,
		`abode_container_start_seconds_bucket{isolation="vm",le="0.075"} 10`,
		`abode_container_start_seconds_count{isolation="container"} 0`,
		`abode_container_start_step_seconds_bucket{isolation="vm",step="network",le="0.005"} 10`,
		`abode_container_start_step_seconds_count{isolation="vm",step="kernel"} 10`,
		`abode_containers{isolation="container",state="running"} 3`,
		`abode_containers{isolation="container",state="exited"} 0`,
		`abode_ready{isolation="container"} 2`,
		`abode_info{version="`,
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%s is not there", want)
		}
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
