package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/logs"
)

func ptr[T any](v T) *T { return &v }

func TestMemoryLimit(t *testing.T) {
	h := startAgent(t)
	req := h.container("head -c 200m /dev/zero | tail > /dev/null & wait $!; exit 5")
	req.Spec.Process.Args = []string{"/bin/sh", "-c", "exec tail -c 300m /dev/zero"}
	req.Spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](32 << 20), Swap: ptr[int64](32 << 20)}}
	_, _, exit := h.run1(req)
	if exit.Code != 137 || !exit.OOMKilled {
		t.Errorf("exit %+v", exit)
	}
}

func TestPIDsLimit(t *testing.T) {
	h := startAgent(t)
	req := h.container("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done 2>/dev/null; echo; kill $(jobs -p)")
	req.Spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](5)}}
	_, _, exit := h.run1(req)
	if exit.Code == 0 {
		t.Errorf("exit %+v", exit)
	}
}

func TestLimitsAreWritten(t *testing.T) {
	h := startAgent(t)
	req := h.container(idle)
	req.Spec.Linux.Resources = &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr[uint64](512), Quota: ptr[int64](50000), Period: ptr[uint64](100000), Cpus: "0"},
		Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20)},
	}
	h.running(req)
	if _, err := os.Stat("/sys/fs/cgroup/memory/cgroup.procs"); err != nil {
		t.Skip("this kernel has no v1 hierarchy")
	}
	var list agent.ListResponse
	h.must(agent.MethodList, agent.Empty{}, &list)
	// A cgroup may have the name of what was prepared.
	own, err := os.ReadFile("/proc/" + itoa(list.Containers[0].PID) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`:memory:/(.*)`).FindStringSubmatch(string(own))[1]
	read := func(controller, file string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, name, file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	for _, c := range [][3]string{{"cpu", "cpu.shares", "512"}, {"cpu", "cpu.cfs_quota_us", "50000"}, {"cpuset", "cpuset.cpus", "0"}, {"memory", "memory.limit_in_bytes", "67108864"}} {
		if got := read(c[0], c[1]); got != c[2] {
			t.Errorf("%s is %q, want %q", c[1], got, c[2])
		}
	}
	if list := read("devices", "devices.list"); !strings.Contains(list, "c 1:3 rwm") || strings.Contains(list, "a *:* rwm") {
		t.Errorf("devices: %q", list)
	}
	h.must(agent.MethodUpdate, agent.UpdateRequest{ID: req.ID, Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr[int64](128 << 20)}, Pids: &specs.LinuxPids{Limit: ptr[int64](50)},
	}}, nil)
	if got := read("memory", "memory.limit_in_bytes") + " " + read("pids", "pids.max") + " " + read("cpu", "cpu.shares"); got != "134217728 50 512" {
		t.Errorf("after the update: %q", got)
	}
}

func TestPause(t *testing.T) {
	h := startAgent(t)
	req := h.container("echo up; i=0; while read x; do echo $x; done")
	req.OpenStdin = true
	a := h.running(req)
	h.must(agent.MethodPause, agent.IDRequest{ID: req.ID}, nil)
	var list agent.ListResponse
	h.must(agent.MethodList, agent.Empty{}, &list)
	if len(list.Containers) != 1 || list.Containers[0].State != agent.StatePaused {
		t.Errorf("%+v", list)
	}
	if err := h.call(agent.MethodPause, agent.IDRequest{ID: req.ID}, nil); !errors.Is(err, &agent.Error{Class: agent.ClassConflict}) {
		t.Errorf("pause twice: %v", err)
	}
	a.send(agent.IOStdin, "word\n")
	var st agent.FileStat
	h.must(agent.MethodStat, agent.PathRequest{ID: req.ID, Path: "/etc/plain"}, &st) // files are reached all the same
	if strings.Contains(a.out(), "word") {
		t.Error("it ran while it was paused")
	}
	h.must(agent.MethodResume, agent.IDRequest{ID: req.ID}, nil)
	a.until(t, "word")
	h.must(agent.MethodPause, agent.IDRequest{ID: req.ID}, nil)
	h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil) // also a paused one
	h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil) // and once more
}

func TestStatsAndTop(t *testing.T) {
	h := startAgent(t)
	req := h.container("sleep 1000 & i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo up; wait")
	req.Spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20)}, Pids: &specs.LinuxPids{Limit: ptr[int64](40)}}
	h.running(req)
	var s agent.StatsResponse
	h.must(agent.MethodStats, agent.IDRequest{ID: req.ID}, &s)
	if s.CPUTotal == 0 || s.SystemCPU == 0 || s.Memory == 0 || s.MemoryLimit != 64<<20 || s.PIDs == 0 || s.PIDsLimit != 40 || s.OnlineCPUs == 0 {
		t.Errorf("%+v", s)
	}
	var top agent.TopResponse
	h.must(agent.MethodTop, agent.IDRequest{ID: req.ID}, &top)
	if top.MemTotal == 0 || !slices.ContainsFunc(top.Processes, func(p agent.TopProcess) bool {
		return p.UID == 0 && p.Args == "sleep 1000" && p.Comm == "sleep" && p.Stat[0] == 'S' && p.Threads == 1 && p.RSS > 0 && p.VSize > p.RSS && p.Age > 0
	}) || !slices.ContainsFunc(top.Processes, func(p agent.TopProcess) bool { return p.CPU > 0 }) {
		t.Errorf("%+v", top)
	}
}

func TestLog(t *testing.T) {
	h := startAgent(t)
	req := h.container("echo one; echo two >&2; head -c 100000 /dev/zero")
	req.Log = filepath.Join(h.run, "log")
	out, _, _ := h.run1(req)
	var got [3]strings.Builder
	err := logs.Read(t.Context(), req.Log, logs.Options{Stdout: true, Stderr: true, Tail: -1}, func(stream byte, p []byte) error {
		got[stream].Write(p)
		return nil
	})
	if err != nil || got[1].String() != out || len(out) != 100004 || got[2].String() != "two\n" {
		t.Errorf("%v: %d and %d bytes, stderr %q", err, got[1].Len(), len(out), got[2].String())
	}
}

// TestKilledAgentLeavesNothing kills the agent and finds no process, mount or
// cgroup of its containers once its successor has started.
func TestKilledAgentLeavesNothing(t *testing.T) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	h := startAgent(t)
	var pids []int
	for _, adapt := range []func(*agent.CreateRequest){func(*agent.CreateRequest) {}, hostUser, func(r *agent.CreateRequest) {
		hostUser(r)
		r.Spec.Linux.Namespaces = slices.DeleteFunc(r.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
	}} {
		req := h.container("sleep 1000 & sleep 1000 & echo up; wait")
		adapt(req)
		h.running(req)
		var top agent.TopResponse
		h.must(agent.MethodTop, agent.IDRequest{ID: req.ID}, &top)
		for _, p := range top.Processes {
			pids = append(pids, p.PID)
		}
	}
	if len(pids) != 9 {
		t.Fatalf("processes: %v", pids)
	}
	if now, _ := os.ReadFile("/proc/self/mounts"); string(now) != string(mounts) {
		t.Error("the agent's mounts are visible outside of its namespace")
	}
	h.cmd.Process.Kill()
	h.cmd.Wait()
	h.client.Close()
	h2 := *h
	h2.cmd = spawnAgent(t, &h2)
	h2.client = newClient(h2.run)
	h2.must(agent.MethodInfo, agent.Empty{}, nil)
	for _, pid := range pids {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			b, err := os.ReadFile("/proc/" + itoa(pid) + "/cmdline")
			if err != nil || !strings.Contains(string(b), "sleep") && !strings.Contains(string(b), "/bin/sh") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d lives: %q", pid, b)
			}
		}
	}
	var list agent.ListResponse
	h2.must(agent.MethodList, agent.Empty{}, &list)
	left, _ := filepath.Glob("/sys/fs/cgroup/*/" + h2.parent + "/*")
	left = slices.DeleteFunc(left, func(dir string) bool { return strings.HasPrefix(filepath.Base(dir), "blank-") })
	left = slices.DeleteFunc(left, func(dir string) bool { fi, err := os.Stat(dir); return err != nil || !fi.IsDir() })
	if len(list.Containers) != 0 || len(left) != 0 {
		t.Errorf("left: %+v %v", list, left)
	}
	h2.must(agent.MethodShutdown, agent.Empty{}, nil)
	h2.cmd.Wait()
	h2.client.Close()
}
