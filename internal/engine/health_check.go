package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
)

// Docker's figures.
const (
	healthEvery      = 30 * time.Second // between checks
	healthTimeout    = 30 * time.Second
	healthStartEvery = 5 * time.Second // between checks in the start period
	healthRetries    = 3
	healthResults    = 5    // that are kept
	healthOutput     = 4096 // bytes that are kept of each
	healthLeast      = time.Millisecond
)

// healthCheck is what a container's configuration says of its health check,
// with the defaults.
type healthCheck struct {
	command                                   []string
	interval, timeout, startPeriod, startEach time.Duration
	retries                                   int
}

// healthCheckOf is a container's check, if it has one. The warning says why one
// that was asked for is none.
func healthCheckOf(c *container.Config) (_ healthCheck, ok bool, warning string) {
	h := c.Healthcheck
	if h == nil || len(h.Test) == 0 {
		return healthCheck{}, false, ""
	}
	command := h.Test[1:]
	switch h.Test[0] {
	case "NONE":
		return healthCheck{}, false, ""
	case "CMD":
	case "CMD-SHELL":
		shell := c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		command = slices.Concat(shell, command)
	default:
		return healthCheck{}, false, fmt.Sprintf("the health check is not run: its type is %q, and not CMD or CMD-SHELL", h.Test[0])
	}
	if len(h.Test) == 1 {
		return healthCheck{}, false, "the health check is not run: it has no command"
	}
	// An image may say anything.
	or := func(d, otherwise time.Duration) time.Duration {
		if d <= 0 {
			return otherwise
		}
		return max(d, healthLeast)
	}
	check := healthCheck{
		command: command, retries: h.Retries,
		interval: or(h.Interval, healthEvery), timeout: or(h.Timeout, healthTimeout),
		startPeriod: or(h.StartPeriod, 0), startEach: or(h.StartInterval, healthStartEvery),
	}
	if check.retries <= 0 {
		check.retries = healthRetries
	}
	return check, true, ""
}

// checkHealth validates what a user says of the health check.
func checkHealth(h *container.HealthConfig) error {
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval}} {
		if d.value != 0 && d.value < healthLeast {
			return invalid("%s in Healthcheck cannot be less than %s", d.name, healthLeast)
		}
	}
	if h.Retries < 0 {
		return invalid("Retries in Healthcheck cannot be negative")
	}
	return nil
}

// newHealth is the health of a container that has just started: the results of
// its last run are kept, as Docker keeps them. Nil: it is not checked.
func newHealth(c *container.Config, before *container.Health) *container.Health {
	if _, ok, _ := healthCheckOf(c); !ok {
		return nil
	}
	h := &container.Health{Status: container.Starting, Log: []*container.HealthcheckResult{}}
	if before != nil {
		h.Log = before.Log
	}
	return h
}

// unchecked is the health of a container whose check has stopped: unhealthy,
// as Docker has it.
func unchecked(h *container.Health) *container.Health {
	if h == nil {
		return nil
	}
	next := *h
	next.Status = container.Unhealthy
	return &next
}

// pause is how long the next check waits, in a container that has run for age.
func (c *healthCheck) pause(now container.HealthStatus, age time.Duration) time.Duration {
	if now == container.Starting && age < c.startPeriod {
		return c.startEach
	}
	return c.interval
}

// next is the health after a result.
func (c *healthCheck) next(h *container.Health, started time.Time, r *container.HealthcheckResult) *container.Health {
	n := *h
	n.Log = append(slices.Clone(h.Log[max(len(h.Log)+1-healthResults, 0):]), r)
	switch {
	case r.ExitCode == 0:
		n.Status, n.FailingStreak = container.Healthy, 0
	case h.Status == container.Starting && r.Start.Sub(started) < c.startPeriod: // does not count
	default:
		if n.FailingStreak++; n.FailingStreak >= c.retries {
			n.Status = container.Unhealthy
		}
	}
	return &n
}

// lasting says whether the step from h to n is one that the next daemon has to
// know: not each result of a container that stays as it is.
func lasting(h, n *container.Health) bool {
	return h.Status != n.Status || h.FailingStreak != n.FailingStreak && n.Status != container.Unhealthy
}

// healthSummary is the health as lists have it.
func (s *status) healthSummary() *container.HealthSummary {
	if s.Health == nil {
		return &container.HealthSummary{Status: container.NoHealthcheck}
	}
	return &container.HealthSummary{Status: s.Health.Status, FailingStreak: s.Health.FailingStreak}
}

// firstBytes keeps the first bytes that are written to it.
type firstBytes struct {
	text strings.Builder
	more bool
}

func (b *firstBytes) write(p []byte) {
	keep := min(healthOutput-b.text.Len(), len(p))
	b.text.Write(p[:keep])
	b.more = b.more || keep < len(p)
}

func (b *firstBytes) String() string {
	if b.more {
		return b.text.String() + "..."
	}
	return b.text.String()
}
