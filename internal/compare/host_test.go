package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fakeProc is a /proc with a container of three processes, one of which joined
// by its cgroup alone, and helpers.
func fakeProc(t *testing.T) *Host {
	dir := t.TempDir()
	add := func(pid, parent, cpu int, exe, cmdline, cgroup string) {
		p := filepath.Join(dir, fmt.Sprint(pid))
		files := map[string]string{
			"stat":         fmt.Sprintf("%d (a) b) S %d 0 0 0 0 0 0 0 0 0 %d 1 1 1 0 0 0 0 %d 0", pid, parent, cpu, pid*10),
			"cmdline":      cmdline,
			"cgroup":       "5:cpu:/\n4:pids:" + cgroup + "\n",
			"smaps_rollup": "00-ff ---p [rollup]\nRss: 100 kB\nPss:   10 kB\nPss_Anon: 5 kB\n",
			"status":       "Name:\tx\nNSpid:\t100\t1\nUid:\t7\t7\t7\t7\n",
		}
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(p, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(exe, filepath.Join(p, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	add(1, 0, 0, "/sbin/init", "init", "/")
	add(100, 1, 97, "/bin/sh", "sh", "/c/ID")
	add(99, 100, 0, "/bin/sh", "sh", "/") // by its parent
	add(101, 1, 0, "/bin/sh", "sh", "/c/ID/sub")
	add(102, 1, 0, "/bin/sh", "sh ID", "/c/IDE")
	add(200, 1, 0, "/usr/bin/containerd-shim-runc-v2", "shim\x00-id\x00ID\x00", "/")
	add(201, 1, 0, "/usr/bin/containerd-shim-runc-v2", "shim\x00-id\x00OTHER\x00", "/")
	add(202, 1, 0, "/bin/aboded", "aboded ID", "/")
	return &Host{Proc: dir}
}

func pids(list []process) (ids []int) {
	for _, p := range list {
		ids = append(ids, p.pid)
	}
	slices.Sort(ids)
	return ids
}

func TestProcesses(t *testing.T) {
	h := fakeProc(t)
	work := h.workload(100)
	if got := pids(work); !slices.Equal(got, []int{99, 100, 101}) {
		t.Errorf("the workload is %v", got)
	}
	if h.workload(12345) != nil {
		t.Error("a process that is not there has a workload")
	}
	if got := pids(h.helpers("ID")); !slices.Equal(got, []int{200}) {
		t.Errorf("helpers are %v", got)
	}
	if sum, err := h.pss(work); err != nil || sum != 30<<10 {
		t.Errorf("PSS %v %v", sum, err)
	}
	if _, err := h.pss(nil); err == nil {
		t.Error("no process has memory")
	}
	if got := h.cpuTimes()[key{100, 1000}]; got != 1 {
		t.Errorf("CPU time %v", got)
	}
	if !h.isInit(100) || h.isInit(12345) {
		t.Error("isInit")
	}
}

func TestCgroupOf(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"0::/\n":                           "",
		"0::/a/b\n":                        "/a/b",
		"0::/\n9:memory:/m\n":              "/m",
		"8:pids:/p:q\n3:cpu,cpuacct:/c\n":  "/p:q",
		"1:name=systemd:/init\n2:cpu:/x\n": "",
	} {
		if got := cgroupOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]string{"80": "80", "8080/": "8080", "8080/health?x=1": "8080/health?x=1"} {
		if got, err := ParseTarget(s); err != nil || got.String() != want {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "65536", "http://x", "80:81", "80/%zz", "-1"} {
		if got, err := ParseTarget(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}
