package faults

import (
	"strings"
	"testing"
)

// kill -9 of the daemon: the next one knows the health that was found before,
// goes on checking, and a check that was under way has ended.
func TestHealthAdopted(t *testing.T) {
	e := start(t)
	run := func(isolation, name, check string, flags ...string) {
		t.Helper()
		args := append([]string{"run", "-d", "--isolation", isolation, "--name", isolation + name, "--health-cmd", check, "--health-retries", "2"}, flags...)
		e.Abode(t, append(args, "busybox", "sleep", "600")...)
	}
	health := func(name string) string {
		out, _ := e.Try("inspect", "-f", "{{.State.Health.Status}} {{len .State.Health.Log}}", name)
		return out
	}
	becomes := func(name, status string) {
		t.Helper()
		eventually(t, name+" is "+status, func() bool { return strings.HasPrefix(health(name), status) })
	}
	// pids are of the checks under way.
	pids := func(name string) []string {
		out, _ := e.Try("top", name, "-o", "pid,args")
		var list []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 1 && strings.Join(f[1:], " ") == "sleep 1001" {
				list = append(list, f[0])
			}
		}
		return list
	}
	under := map[string]string{}
	for _, isolation := range isolations {
		// Checked once, and not again in this test.
		run(isolation, "-once", "true", "--health-interval", "1h", "--health-start-period", "1h", "--health-start-interval", "100ms")
		run(isolation, "-often", "test ! -e /bad", "--health-interval", "200ms")
		run(isolation, "-long", "sleep 1001", "--health-interval", "200ms", "--health-timeout", "1h")
	}
	for _, isolation := range isolations {
		becomes(isolation+"-once", "healthy")
		becomes(isolation+"-often", "healthy")
		eventually(t, "a check is under way", func() bool {
			list := pids(isolation + "-long")
			if len(list) == 1 {
				under[isolation] = list[0]
			}
			return len(list) == 1
		})
		e.Abode(t, "exec", "-d", isolation+"-often", "sh", "-c", "sleep 1; touch /bad")
	}
	e.KillDaemon()
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		if got := health(isolation + "-once"); got != "healthy 1" {
			t.Errorf("%s: the next daemon says %q", isolation, got)
		}
		becomes(isolation+"-often", "unhealthy")
		eventually(t, "the check that was under way has ended, and another runs", func() bool {
			list := pids(isolation + "-long")
			return len(list) == 1 && list[0] != under[isolation]
		})
	}
}
