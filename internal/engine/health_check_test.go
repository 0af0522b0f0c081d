package engine

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// Which results make which health.
func TestHealthStates(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name, results string // o: success; x: failure; (: within the start period
		retries       int
		period        time.Duration
		want          container.HealthStatus
		streak        int
	}{
		{"before the first", "", 0, 0, container.Starting, 0},
		{"one success", "o", 0, 0, container.Healthy, 0},
		{"fewer failures than retries", "xx", 0, 0, container.Starting, 2},
		{"as many", "xxx", 0, 0, container.Unhealthy, 3},
		{"one is enough", "x", 1, 0, container.Unhealthy, 1},
		{"healthy stays so at first", "oxx", 3, 0, container.Healthy, 2},
		{"healthy no longer", "oxxx", 3, 0, container.Unhealthy, 3},
		{"healthy again", "oxxxxo", 3, 0, container.Healthy, 0},
		{"the start period forgives", "xxxxxx", 3, 7 * time.Second, container.Starting, 0},
		{"and ends", "xxxxxx", 3, 4 * time.Second, container.Unhealthy, 3},
		{"a success ends it", "oxxx", 3, time.Hour, container.Unhealthy, 3},
	} {
		cfg := &container.Config{Healthcheck: &container.HealthConfig{Test: []string{"CMD", "x"}, Retries: c.retries, StartPeriod: c.period}}
		check, ok, _ := healthCheckOf(cfg)
		if !ok {
			t.Fatal("no check")
		}
		h := newHealth(cfg, nil)
		for i, r := range c.results {
			before := *h
			n := check.next(h, start, &container.HealthcheckResult{Start: start.Add(time.Duration(i+1) * time.Second), ExitCode: strings.IndexRune("ox", r), Output: strconv.Itoa(i)})
			if len(h.Log) != len(before.Log) || h.Status != before.Status {
				t.Errorf("%s: the health before is changed", c.name)
			}
			h = n
		}
		if h.Status != c.want || h.FailingStreak != c.streak {
			t.Errorf("%s: %s, streak %d; want %s, %d", c.name, h.Status, h.FailingStreak, c.want, c.streak)
		}
		if want := min(len(c.results), 5); len(h.Log) != want {
			t.Errorf("%s: %d results are kept", c.name, len(h.Log))
		}
		if n := len(h.Log); n > 0 && h.Log[n-1].Output != strconv.Itoa(len(c.results)-1) {
			t.Errorf("%s: the last result is %q", c.name, h.Log[n-1].Output)
		}
	}
}

// A start forgets the status and keeps the results; a stop makes unhealthy.
func TestHealthStarts(t *testing.T) {
	cfg := &container.Config{Healthcheck: &container.HealthConfig{Test: []string{"CMD", "x"}}}
	old := &container.Health{Status: container.Healthy, FailingStreak: 2, Log: []*container.HealthcheckResult{{Output: "a"}}}
	if h := unchecked(old); h.Status != container.Unhealthy || h.FailingStreak != 2 || old.Status != container.Healthy {
		t.Errorf("%+v of %+v", h, old)
	}
	if h := newHealth(cfg, old); h.Status != container.Starting || h.FailingStreak != 0 || len(h.Log) != 1 {
		t.Errorf("%+v", h)
	}
	if h := newHealth(&container.Config{}, old); h != nil {
		t.Errorf("%+v without a check", h)
	}
	if unchecked(nil) != nil {
		t.Error("no check is unhealthy")
	}
}

func TestHealthLasting(t *testing.T) {
	of := func(s container.HealthStatus, streak int) *container.Health {
		return &container.Health{Status: s, FailingStreak: streak}
	}
	for _, c := range []struct {
		from, to *container.Health
		want     bool
	}{
		{of(container.Starting, 0), of(container.Healthy, 0), true},
		{of(container.Healthy, 0), of(container.Healthy, 0), false},
		{of(container.Healthy, 0), of(container.Healthy, 1), true},
		{of(container.Unhealthy, 3), of(container.Unhealthy, 4), false},
		{of(container.Unhealthy, 4), of(container.Healthy, 0), true},
	} {
		if got := lasting(c.from, c.to); got != c.want {
			t.Errorf("%+v to %+v: %v", c.from, c.to, got)
		}
	}
}

func TestHealthConfig(t *testing.T) {
	of := func(h container.HealthConfig) (healthCheck, bool, string) {
		return healthCheckOf(&container.Config{Healthcheck: &h})
	}
	check, ok, _ := of(container.HealthConfig{Test: []string{"CMD-SHELL", "a b"}, StartPeriod: time.Minute})
	if !ok || !slices.Equal(check.command, []string{"/bin/sh", "-c", "a b"}) || check.interval != 30*time.Second || check.timeout != 30*time.Second || check.retries != 3 {
		t.Errorf("%+v", check)
	}
	if d := check.pause(container.Starting, time.Second); d != 5*time.Second {
		t.Errorf("%v in the start period", d)
	}
	for _, s := range []container.HealthStatus{container.Healthy, container.Unhealthy} {
		if d := check.pause(s, time.Second); d != 30*time.Second {
			t.Errorf("%v when %s", d, s)
		}
	}
	if d := check.pause(container.Starting, time.Minute); d != 30*time.Second {
		t.Errorf("%v after the start period", d)
	}
	// An image's times are not checked when it is made.
	check, _, _ = of(container.HealthConfig{Test: []string{"CMD", "x"}, Interval: -1, Timeout: 1, Retries: -2, StartInterval: -time.Hour})
	if check.interval != 30*time.Second || check.timeout != time.Millisecond || check.retries != 3 || check.startEach != 5*time.Second {
		t.Errorf("%+v", check)
	}
	for _, test := range [][]string{nil, {}, {"NONE"}, {"NONE", "x"}} {
		if _, ok, warning := of(container.HealthConfig{Test: test}); ok || warning != "" {
			t.Errorf("%q: %v %q", test, ok, warning)
		}
	}
	for _, test := range [][]string{{"CMD"}, {"CMD-SHELL"}, {"ASK", "x"}} {
		if _, ok, warning := of(container.HealthConfig{Test: test}); ok || !strings.Contains(warning, "is not run") {
			t.Errorf("%q: %v %q", test, ok, warning)
		}
	}
}

func TestHealthRefusals(t *testing.T) {
	for want, h := range map[string]*container.HealthConfig{
		"": {Interval: time.Millisecond, Retries: 1},
		"Interval in Healthcheck cannot be less than 1ms":      {Interval: time.Microsecond},
		"Timeout in Healthcheck cannot be less than 1ms":       {Timeout: -1},
		"StartPeriod in Healthcheck cannot be less than 1ms":   {StartPeriod: 1},
		"StartInterval in Healthcheck cannot be less than 1ms": {StartInterval: 999},
		"Retries in Healthcheck cannot be negative":            {Retries: -1},
	} {
		err := checkHealth(h)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err)) {
			t.Errorf("%+v: %v", h, err)
		}
	}
}

func TestHealthOutput(t *testing.T) {
	var b firstBytes
	b.write([]byte(strings.Repeat("a", 4095)))
	b.write([]byte("b"))
	if s := b.String(); len(s) != 4096 || !strings.HasSuffix(s, "ab") {
		t.Errorf("%d bytes", len(s))
	}
	b.write([]byte("c"))
	if s := b.String(); !strings.HasSuffix(s, "ab...") {
		t.Errorf("ends with %q", s[4090:])
	}
}
