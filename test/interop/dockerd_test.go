package interop

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A dockerd is Debian's Docker daemon with everything it keeps in a folder of
// one test: its containerd, its containers' cgroups and its mounts too.
type dockerd struct {
	dir string
	cmd *exec.Cmd
	cli string
	// cgroup is the name of its containers' cgroup in each hierarchy.
	cgroup string
	// made are directories with a fixed place that were not there before.
	made []string
}

// fixedDirs are what dockerd and its containerd make outside their folder,
// whatever they are told.
var fixedDirs = []string{"/run/docker", "/run/docker/plugins", "/run/containerd", "/run/containerd/s"}

// startDockerd starts a Docker daemon without a network, which ends with the
// test.
func startDockerd(t testing.TB) *dockerd {
	t.Helper()
	dir := t.TempDir()
	d := &dockerd{dir: dir, cli: need(t, "/usr/bin/docker", "docker"), cgroup: "interop-" + filepath.Base(filepath.Dir(dir))}
	for _, dir := range fixedDirs {
		if _, err := os.Stat(dir); err != nil {
			d.made = append(d.made, dir)
		}
	}
	// The key's path is told so that none appears in /etc/docker.
	config := filepath.Join(dir, "daemon.json")
	writeFile(t, config, fmt.Appendf(nil, `{"deprecated-key-path": %q}`, filepath.Join(dir, "key.json")))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(need(t, "dockerd", "/usr/sbin/dockerd"),
		"--config-file", config, "--host", "unix://"+d.socket(), "--pidfile", filepath.Join(dir, "pid"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--cgroup-parent", "/"+d.cgroup,
		"--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--log-level=warn")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(exited) }()
	t.Cleanup(func() { d.end(t, exited) })
	for range 600 {
		if d.try(t, "version").code == 0 {
			return d
		}
		select {
		case <-exited:
			t.Fatalf("dockerd ended at its start:\n%s", d.log())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("dockerd does not answer:\n%s", d.log())
	return nil
}

func (d *dockerd) socket() string { return filepath.Join(d.dir, "docker.sock") }

func (d *dockerd) log() string {
	log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	return string(log)
}

// end ends the daemon and whatever it started, and removes their mounts,
// cgroups and directories; the daemon's folder itself is the test's.
func (d *dockerd) end(t testing.TB, exited chan struct{}) {
	if t.Failed() {
		t.Logf("dockerd's log:\n%s", d.log())
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Error("dockerd did not end on SIGTERM")
		_ = d.cmd.Process.Kill()
		<-exited
	}
	for range 50 {
		if len(d.processes()) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, pid := range d.processes() { // dockerd ends its containerd, unless it is killed
		t.Errorf("process %d of dockerd is still there", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, m := range slices.Backward(d.mounts()) {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	for _, top := range d.cgroups() {
		removeCgroup(t, top)
	}
	for _, dir := range slices.Backward(d.made) {
		_ = os.Remove(dir) // unless another daemon uses it by now
	}
}

// cgroups lists those of the daemon's containers, of cgroup v1 and v2.
func (d *dockerd) cgroups() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + d.cgroup)
	v2, _ := filepath.Glob("/sys/fs/cgroup/" + d.cgroup)
	return append(v1, v2...)
}

// removeCgroup removes a cgroup and those in it, with the processes that a
// daemon which was killed has left there.
func removeCgroup(t testing.TB, top string) {
	for range 50 {
		var dirs []string
		_ = filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, name)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, p := range strings.Fields(string(procs)) {
				if pid, err := strconv.Atoi(p); err == nil && pid > 0 {
					t.Logf("ending process %d, which dockerd left", pid)
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			_ = os.Remove(dir)
		}
		if _, err := os.Stat(top); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("cannot remove the cgroup %s", top)
}

// processes lists those that bear the daemon's folder in their command line.
func (d *dockerd) processes() (pids []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		line, _ := os.ReadFile(p)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && strings.Contains(string(line), d.dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mounts lists what is mounted below the daemon's folder, outermost first.
func (d *dockerd) mounts() (dirs []string) {
	table, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], d.dir+"/") {
			dirs = append(dirs, f[1])
		}
	}
	return dirs
}

func (d *dockerd) try(t testing.TB, args ...string) result {
	t.Helper()
	cmd := exec.Command(d.cli, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+d.socket(), "DOCKER_CONFIG="+filepath.Join(d.dir, "client"))
	return capture(t, cmd, "")
}

// docker runs the docker command on this daemon, which must succeed, and
// returns what it prints.
func (d *dockerd) docker(t testing.TB, args ...string) string {
	t.Helper()
	r := d.try(t, args...)
	if r.code != 0 {
		t.Fatalf("docker %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}
