package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// testMetrics scrapes before and after one container's life.
func testMetrics(t *testing.T, tc *caseContext) {
	label := `{isolation="` + string(tc.isolation) + `"`
	before := tc.scrape(t)
	id := tc.run(t, "sleep 1000")
	now := tc.scrape(t)
	for name, more := range map[string]float64{
		"abode_container_starts_total" + label + "}":                           1,
		"abode_container_start_failures_total" + label + "}":                   0,
		"abode_container_start_seconds_count" + label + "}":                    1,
		"abode_container_start_seconds_bucket" + label + `,le="+Inf"}`:         1,
		"abode_container_start_step_seconds_count" + label + `,step="kernel"}`: 1,
		"abode_containers" + label + `,state="running"}`:                       1,
	} {
		value, ok := now[name]
		if got := value - before[name]; !ok || got != more {
			t.Errorf("a start adds %v to %s (there: %v)", got, name, ok)
		}
	}
	for _, name := range []string{"abode_ready" + label + "}", "go_goroutines", "process_resident_memory_bytes"} {
		if _, ok := now[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	if _, err := tc.c.ContainerKill(t.Context(), id, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	tc.exitCode(t, id)
	ended := tc.scrape(t)
	if name := "abode_container_exits_total" + label + "}"; ended[name]-now[name] != 1 {
		t.Errorf("an end adds %v to %s", ended[name]-now[name], name)
	}

	// A start that fails counts as one, and takes no time.
	bad := tc.create(t, container.Config{Cmd: []string{"/no/such/program"}})
	if _, err := tc.c.ContainerStart(t.Context(), bad, client.ContainerStartOptions{}); err == nil {
		t.Fatal("a program that is not there was started")
	}
	failed := tc.scrape(t)
	for name, more := range map[string]float64{
		"abode_container_starts_total" + label + "}":         1,
		"abode_container_start_failures_total" + label + "}": 1,
		"abode_container_start_seconds_count" + label + "}":  0,
	} {
		if got := failed[name] - ended[name]; got != more {
			t.Errorf("a failed start adds %v to %s", got, name)
		}
	}
}

// scrape reads Prometheus' text format: a sample per line, values after the
// last blank.
func (tc *caseContext) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	dial := tc.c.Dialer()
	h := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
	r, err := h.Get("http://engine/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%s, %s, %v: %s", r.Status, r.Header.Get("Content-Type"), err, body)
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		samples[line[:i]] = v
	}
	return samples
}
