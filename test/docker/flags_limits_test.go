package docker

import (
	"os"
	"strings"
	"testing"
)

// limitCases are the flags for limits that not every kernel can set. What it
// cannot, it discards with a warning, as dockerd does.
func limitCases() []feature {
	limits := func(name string, args []string, script, want, discarded string) feature {
		return feature{name: name, note: "discarded with a warning where the kernel cannot", prove: func(t *testing.T, w wall) {
			r := call(t, "", append(append([]string{"run", "--isolation", string(w), "--rm", "--memory", "64m"}, args...), "busybox", "sh", "-c", library+script+" || true")...)
			if r.code != 0 || !strings.Contains(r.stderr, discarded) && strings.TrimSpace(r.stdout) != want {
				t.Errorf("docker run %s: exit code %d, %q\n%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
			}
		}}
	}
	all := []feature{
		limits("--blkio-weight", []string{"--blkio-weight", "300"}, "cg blkio/blkio.weight io.weight", "300", "Weight discarded."),
		limits("--memory-swappiness", []string{"--memory-swappiness", "5"}, "cat /sys/fs/cgroup/memory/memory.swappiness", "5", "Memory swappiness discarded."),
		limits("--oom-kill-disable", []string{"--oom-kill-disable"}, "awk '/oom_kill_disable/ { print $2 }' /sys/fs/cgroup/memory/memory.oom_control", "1", "OomKillDisable discarded."),
		{name: "--device-cgroup-rule", prove: func(t *testing.T, w wall) {
			const script = "mknod /kmsg c 1 11 && head -n 1 /kmsg >/dev/null 2>&1 && echo allowed || echo forbidden"
			args := []string{"--rm", "--userns", "host", "--cap-add", "SYSLOG"}
			equal(t, "without", w.run(t, append(args, "busybox", "sh", "-c", script)...), "forbidden")
			equal(t, "with it", w.run(t, append(args, "--device-cgroup-rule", "c 1:11 rwm", "busybox", "sh", "-c", script)...), "allowed")
		}},
	}
	refused := map[wall]string{"vm": `cannot use --device-read-bps and its kind, or --blkio-weight-device, with isolation "vm": the host's devices are not the container's kernel's; use --isolation container`}
	for name, c := range map[string]struct{ value, v1, v2 string }{
		"--device-read-bps":   {"1mb", "read_bps", "rbps=1048576"},
		"--device-read-iops":  {"10", "read_iops", "riops=10"},
		"--device-write-bps":  {"1mb", "write_bps", "wbps=1048576"},
		"--device-write-iops": {"10", "write_iops", "wiops=10"},
	} {
		all = append(all, feature{name: name, refused: refused, prove: func(t *testing.T, w wall) {
			if refused[w] != "" {
				w.refuses(t, refused[w], name, "/dev/zero:"+c.value)
				return
			}
			out := w.run(t, "--rm", name, disk(t)+":"+c.value, "busybox", "sh", "-c", library+"cg blkio/blkio.throttle."+c.v1+"_device io.max")
			_, number, _ := strings.Cut(c.v2, "=")
			if !strings.HasSuffix(out, " "+number) && !strings.Contains(out, c.v2) {
				t.Errorf("the limit is %q", out)
			}
		}})
	}
	return append(all, feature{name: "--blkio-weight-device", note: "discarded with a warning where the kernel cannot", refused: refused, prove: func(t *testing.T, w wall) {
		if refused[w] != "" {
			w.refuses(t, refused[w], "--blkio-weight-device", "/dev/zero:200")
			return
		}
		r := call(t, "", "run", "--rm", "--blkio-weight-device", disk(t)+":200", "busybox", "sh", "-c", library+"cg blkio/blkio.weight_device io.bfq.weight || true")
		if r.code != 0 || !strings.Contains(r.stderr, "Weight-device discarded.") && !strings.Contains(r.stdout, "200") {
			t.Errorf("exit code %d, %q\n%s", r.code, r.stdout, r.stderr)
		}
	}})
}

// disk is a block device of the host that holds something.
func disk(t *testing.T) string {
	t.Helper()
	list, err := os.ReadDir("/sys/block")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if size, err := os.ReadFile("/sys/block/" + d.Name() + "/size"); err == nil && strings.TrimSpace(string(size)) != "0" {
			return "/dev/" + d.Name()
		}
	}
	t.Skip("there is no block device")
	return ""
}
