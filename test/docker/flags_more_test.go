package docker

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// ownNamespace is the host's, as a container that shares it sees it.
func ownNamespace(t *testing.T, kind string) string {
	t.Helper()
	target, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// healthCases are the flags of health checks. Each container's health tells.
func healthCases() []feature {
	// health runs the container until it is of the status.
	health := func(t *testing.T, w wall, status container.HealthStatus, args ...string) (h container.Health, c container.HealthConfig) {
		name := w.name(t)
		w.run(t, append(append([]string{"--detach", "--name", name}, args...), "busybox", "sleep", "1000")...)
		eventually(t, "that it is "+string(status), func() bool {
			read(t, cli(t, "inspect", "--format", "{{json .State.Health}}", name), &h)
			return h.Status == status
		})
		read(t, cli(t, "inspect", "--format", "{{json .Config.Healthcheck}}", name), &c)
		return h, c
	}
	var cases []feature
	add := func(name string, prove func(t *testing.T, w wall)) {
		cases = append(cases, feature{name: name, prove: prove})
	}
	add("--health-cmd", func(t *testing.T, w wall) {
		h, _ := health(t, w, container.Healthy, "--health-cmd", "echo I am well", "--health-interval", "100ms")
		equal(t, "what the check says", h.Log[0].Output, "I am well\n")
	})
	// Of what is checked once an hour, the second check comes in time for no test.
	add("--health-interval", func(t *testing.T, w wall) {
		h, _ := health(t, w, container.Unhealthy, "--health-cmd", "false", "--health-interval", "10ms")
		equal(t, "the checks that have failed", h.FailingStreak >= 3, true)
	})
	add("--health-retries", func(t *testing.T, w wall) {
		h, _ := health(t, w, container.Unhealthy, "--health-cmd", "false", "--health-interval", "10ms", "--health-retries", "1")
		equal(t, "the checks that have failed", h.FailingStreak >= 1, true)
	})
	add("--health-timeout", func(t *testing.T, w wall) {
		h, _ := health(t, w, container.Unhealthy, "--health-cmd", "sleep 1000", "--health-interval", "10ms", "--health-retries", "1", "--health-timeout", "200ms")
		equal(t, "what the check says", h.Log[0].Output, "Health check exceeded timeout (200ms)")
	})
	add("--health-start-period", func(t *testing.T, w wall) {
		_, c := health(t, w, container.Healthy, "--health-cmd", "test -e /tmp/n && exit; touch /tmp/n; exit 1", "--health-interval", "100ms", "--health-retries", "1", "--health-start-period", "1h")
		equal(t, "the period", c.StartPeriod.Hours(), 1)
	})
	add("--health-start-interval", func(t *testing.T, w wall) {
		health(t, w, container.Healthy, "--health-cmd", "true", "--health-interval", "1h", "--health-start-period", "1h", "--health-start-interval", "50ms")
	})
	add("--no-healthcheck", func(t *testing.T, w wall) {
		name := w.name(t)
		w.run(t, "--no-healthcheck", "--name", name, "busybox", "true")
		equal(t, "the check", cli(t, "inspect", "--format", "{{.Config.Healthcheck.Test}}", name), "[NONE]")
	})
	return cases
}

// networkCases are the flags of networks that users make.
func networkCases() []feature {
	return []feature{
		{name: "--network NAME", prove: func(t *testing.T, w wall) {
			n, _ := network(t)
			name := w.name(t)
			w.run(t, "--network", n, "--name", name, "busybox", "true")
			equal(t, "its networks", cli(t, "inspect", "--format", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}} {{end}}", name), n+" ")
		}},
		{name: "--network NAME --network OTHER", prove: func(t *testing.T, w wall) {
			n, first := network(t)
			o, second := network(t)
			got := w.run(t, "--rm", "--network", "name="+n+",ip="+first+".77", "--network", "name="+o+",ip="+second+".78,gw-priority=7", "busybox", "sh", "-c",
				"ip -4 -o addr show scope global | awk '{ print $2, $4 }'; ip route | awk '/^default/ { print $3, $5 }'")
			equal(t, "its addresses and its way out", got, "eth0 "+first+".77/24\neth1 "+second+".78/24\n"+second+".1 eth1")
		}},
		{name: "--link", prove: func(t *testing.T, w wall) {
			other := w.name(t)
			w.run(t, "--detach", "--name", other, "busybox", "sleep", "1000")
			w.run(t, "--rm", "--link", other+":friend", "busybox", "ping", "-c", "1", "-W", "10", "friend")
		}},
		{name: "--network-alias", prove: func(t *testing.T, w wall) {
			n, _ := network(t)
			w.run(t, "--detach", "--name", w.name(t), "--network", n, "--network-alias", "other", "busybox", "sleep", "1000")
			w.run(t, "--rm", "--network", n, "busybox", "ping", "-c", "1", "-W", "10", "other")
		}},
		{name: "--ip", prove: func(t *testing.T, w wall) {
			n, prefix := network(t)
			want := prefix + ".77"
			equal(t, "its address", w.run(t, "--rm", "--network", n, "--ip", want, "busybox", "sh", "-c", "ip -4 -o addr show eth0 | awk '{ print $4 }'"), want+"/24")
		}},
		{name: "--ip6", prove: func(t *testing.T, w wall) {
			n, prefix := network(t, "--ipv6")
			want := "fd00:213:" + prefix[strings.LastIndex(prefix, ".")+1:] + "::77"
			equal(t, "its address", w.run(t, "--rm", "--network", n, "--ip6", want, "busybox", "sh", "-c", "ip -6 -o addr show scope global dev eth0 | awk '{ print $4 }'"), want+"/64")
		}},
	}
}

// network makes a network, which goes with the test, of a subnet of its own.
// With the flag --ipv6 it has fd00:213:N::/64 too, for the last number N.
func network(t *testing.T, flags ...string) (name, prefix string) {
	names.Lock()
	names.n++
	n := names.n
	names.Unlock()
	name, prefix = fmt.Sprintf("net-%d", n), fmt.Sprintf("10.213.%d", n)
	args := append([]string{"network", "create", "--subnet", prefix + ".0/24"}, flags...)
	if len(flags) > 0 {
		args = append(args, "--subnet", fmt.Sprintf("fd00:213:%d::/64", n))
	}
	cli(t, append(args, name)...)
	t.Cleanup(func() {
		for range 50 { // what was in it is on its way out
			if call(t, "", "network", "rm", name).code == 0 {
				return
			}
		}
		t.Errorf("network %s cannot be removed", name)
	})
	return name, prefix
}

func read(t testing.TB, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
}
