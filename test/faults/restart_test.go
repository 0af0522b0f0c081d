package faults

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kill -9 of the daemon while containers wait for their restart, and while
// others run: the former are restarted, the latter run on, and go on to be
// restarted by their policies.
func TestKilledAmongRestarts(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "waits-"+isolation, "--restart", "always", "busybox", "sh", "-c", "echo ran; exit 1")
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "runs-"+isolation, "--restart", "on-failure", "busybox", "sh", "-c",
			"echo ran; while ! test -e /end; do sleep 0.05; done; rm /end; exit 1")
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "stopped-"+isolation, "--restart", "unless-stopped", "busybox", "sleep", "600")
		e.Abode(t, "stop", "-t", "0", "stopped-"+isolation)
	}
	ran := func(name string) int {
		out, _ := e.Try("logs", name)
		return strings.Count(out, "ran")
	}
	status := func(name string) string {
		out, _ := e.Try("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", name)
		return out
	}
	for round := range 2 {
		before := map[string]int{}
		for _, isolation := range isolations {
			eventually(t, "waits-"+isolation+" waits", func() bool { return strings.HasPrefix(status("waits-"+isolation), "restarting") })
		}
		e.KillDaemon()
		if err := e.StartDaemon(); err != nil {
			t.Fatal(err)
		}
		for _, isolation := range isolations {
			before[isolation] = ran("waits-" + isolation)
			if out := status("stopped-" + isolation); !strings.HasPrefix(out, "exited") {
				t.Errorf("%s: what was stopped by hand is %s", isolation, out)
			}
			if out := status("runs-" + isolation); out != "running "+string(rune('0'+round)) {
				t.Errorf("%s: what runs is %q in round %d", isolation, out, round)
			}
		}
		for _, isolation := range isolations {
			e.Abode(t, "exec", "runs-"+isolation, "touch", "/end")
			eventually(t, "runs-"+isolation+" is restarted", func() bool { return status("runs-"+isolation) == "running "+string(rune('1'+round)) })
			eventually(t, "waits-"+isolation+" is restarted", func() bool { return ran("waits-"+isolation) > before[isolation] })
		}
	}
}

// kill -9 of the daemon at any moment of a restart by policy: the next goes on.
func TestKilledDuringRestart(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", isolation, "--restart", "always", "-v", "count-"+isolation+":/count", "busybox", "sh", "-c", "echo ran >>/count/n; exit 1")
		for _, after := range []time.Duration{90, 115, 150, 250, 500} {
			e.Abode(t, "restart", isolation) // so that the back-off is the first
			time.Sleep(after * time.Millisecond)
			e.KillDaemon()
			if err := e.StartDaemon(); err != nil {
				t.Fatal(err)
			}
			runs := func() int {
				out, _ := e.Try("run", "--rm", "-v", "count-"+isolation+":/count", "busybox", "cat", "/count/n")
				return strings.Count(out, "ran")
			}
			had := runs()
			eventually(t, isolation+" is restarted", func() bool { return runs() > had })
		}
		e.Abode(t, "rm", "-f", isolation)
		for _, line := range e.Footprint() {
			if strings.HasPrefix(line, "mount") {
				t.Errorf("%s: left behind: %s", isolation, line)
			}
		}
	}
}

// A machine that loses its power starts what it ran, and what the policy
// always has started before.
func TestPoliciesAfterReboot(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		for _, policy := range []string{"always", "unless-stopped", "on-failure", "no"} {
			e.Abode(t, "run", "-d", "--isolation", isolation, "--name", policy+"-"+isolation, "--restart", policy, "busybox", "sleep", "600")
		}
		e.Abode(t, "stop", "-t", "0", "always-"+isolation)
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "stopped-"+isolation, "--restart", "unless-stopped", "busybox", "sleep", "600")
		e.Abode(t, "stop", "-t", "0", "stopped-"+isolation)
	}
	e.KillDaemon()
	for _, pid := range append(processes(e, "qemu-system"), processes(e, "abode-agent")...) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(t, "nothing runs", func() bool {
		return len(processes(e, "qemu-system"))+len(processes(e, "abode-agent")) == 0
	})
	if err := os.RemoveAll(e.Run); err != nil {
		t.Fatal(err)
	}
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		for _, policy := range []string{"always", "unless-stopped", "on-failure"} {
			eventually(t, policy+"-"+isolation+" runs", func() bool {
				out, err := e.Try("exec", policy+"-"+isolation, "echo", "alive")
				return err == nil && out == "alive"
			})
		}
		for _, name := range []string{"no-", "stopped-"} {
			if out := e.Abode(t, "inspect", "-f", "{{.State.Status}}", name+isolation); out != "exited" {
				t.Errorf("%s%s is %s", name, isolation, out)
			}
		}
	}
}
