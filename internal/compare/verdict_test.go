package compare

import (
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/compare/reach"
)

func near(v float64) []float64 { return []float64{v * 0.99, v, v, v, v * 1.01} }

func TestDifference(t *testing.T) {
	by := map[string]metric{}
	for _, m := range metrics {
		by[m.key] = m
		if _, ok := phrases[m.key]; !ok {
			t.Errorf("%s has no words", m.key)
		}
	}
	for _, c := range []struct {
		key  string
		a, b []float64
		want string
	}{
		{"start", near(0.05), near(0.3), "it starts 6 times slower (300 ms, not 50 ms)"},
		{"start", near(0.3), near(0.05), "it starts 6 times faster (50 ms, not 300 ms)"},
		{"start", near(0.1), near(0.13), "it starts 30% slower (130 ms, not 100 ms)"},
		{"start", near(0.1), near(0.105), "it starts about as fast (105 ms and 100 ms)"},
		{"start", []float64{0.05}, []float64{0.3}, "its start: 300 ms, not 50 ms"},
		{"run", []float64{1, 2, 9, 9, 9}, []float64{3, 4, 5, 10, 11}, "how long the command takes may differ by chance alone (5 s and 9 s)"},
		// One that is far off does not decide.
		{"run", []float64{1, 1, 1, 1, 1, 1, 1, 90}, []float64{5, 5, 5, 5, 5, 5, 5, 5}, "the command takes 5 times longer (5 s, not 1 s)"},
		{"memory", near(6 << 20), near(86 << 20), "it costs 80 MiB more memory (86 MiB, not 6 MiB)"},
		{"memory", near(0), near(1 << 20), "it costs 1 MiB more memory (1 MiB, not 0 B)"},
		{"cpu", near(0), near(0.5), "it uses 500 ms more CPU time (500 ms, not under 10 ms)"},
		{"cpu", near(0), near(0), "it uses about as much CPU time (under 10 ms and under 10 ms)"},
		{"diskWrite", near(100 << 20), near(250 << 20), "writes are 2.5 times faster (250 MiB/s, not 100 MiB/s)"},
		{"netOut", near(1e9), near(0.7e9), "data goes out 30% slower (700 Mbit/s, not 1 Gbit/s)"},
		{"roundTrip", near(1e-5), near(4e-5), "a round trip takes 4 times longer (40 µs, not 10 µs)"},
		{"http", near(2), near(1), "its first HTTP answer comes 2 times sooner (1 s, not 2 s)"},
	} {
		if got := by[c.key].difference(newStat(c.a), newStat(c.b)); got != c.want {
			t.Errorf("%s %v %v:\n got %s\nwant %s", c.key, c.a, c.b, got, c.want)
		}
	}
}

// report is of a container and a virtual machine that was made ahead.
func report(runs int) *Report {
	own := 1000
	r := &Report{Version: 1, Image: "web", Repeat: runs, Absent: []Missing{{"docker", "not installed"}}}
	container := Contestant{Name: "container", ImageID: "sha256:aaa", Isolation: Facts{Kernel: kernelShared, Release: "6.1", Seccomp: "off", UserMap: []string{"0 0 1"}, Calls: &reach.Calls{Total: 9, Allowed: 9}}}
	vm := Contestant{Name: "vm", ImageID: "sha256:bbb", Isolation: Facts{Kernel: kernelOwn, Release: "6.2", Hypervisor: &own, HypervisorCalls: &reach.Calls{Total: 9, Allowed: 5, Conditional: []string{"a", "b"}}}}
	for i := range runs {
		memory, code := float64(6<<20+i), int64(3)
		container.Runs = append(container.Runs, Run{Start: 0.05 + float64(i)/1000, Memory: &memory, ExitCode: &code})
		vm.Runs = append(vm.Runs, Run{Start: 0.3 + float64(i)/1000, Prepared: i > 0, Ahead: 2, Status: 404, DiskRead: &memory, Warm: "nobody knows", why: map[string]string{"memory": "<b>it & ended</b>"}})
	}
	container.finish()
	vm.finish()
	r.Contestants = []Contestant{container, vm}
	r.Verdict = r.verdict()
	return r
}

func TestVerdict(t *testing.T) {
	got := strings.Join(report(5).Verdict, "\n")
	for _, want := range []string{
		"The virtual machine, beside the container: it starts 5.81 times slower",
		"The container shares the host's kernel (6.1): a hole in that kernel is a hole in the wall. The workload may make all of the host's 9 system calls. No seccomp filter is set; its root is the host's root.",
		"The kernel of the virtual machine is its own (6.2): who breaks it has the guest, and the host is behind the hypervisor, which may make 7 of the host's 9 system calls.",
		"The virtual machine was made ahead in 4 of 5 starts, which had taken 2 s of CPU time before",
		"Take care: with container the command ended with code 3 in 5 of 5 runs.",
		"Take care: with vm the HTTP answer was 404.",
		"Take care: what vm read of its disk may have come from the host's memory: nobody knows.",
		"Take care: the image of that name is not the same for vm (bbb, not aaa).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the verdict lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "costs") || strings.Contains(got, "a look") {
		t.Errorf("the verdict tells too much:\n%s", got)
	}
	if got := strings.Join(report(1).Verdict, "\n"); !strings.Contains(got, "a look, not a measurement") || !strings.Contains(got, "too few runs") {
		t.Errorf("one run is taken for a measurement:\n%s", got)
	}
	if got := (&Report{}).verdict(); len(got) != 0 {
		t.Errorf("nothing was measured, and yet: %q", got)
	}
}
