package compare

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/abode-run/abode/internal/compare/reach"
)

// Host reads the processes of the machine that this program runs on. Its
// numbers are of a contestant whose engine runs on the same machine.
type Host struct{ Proc string } // normally /proc

// process is one of the host's.
type process struct {
	pid, parent int
	began       uint64 // in ticks since boot: with pid, its name for good
	cpu         float64
	cgroup      string
}

// ticks per second of the times in /proc, on every architecture that Go knows.
const ticks = 100

// key names a process for good.
type key struct {
	pid   int
	began uint64
}

// cpuTimes are the CPU times of all processes, to be subtracted later.
func (h *Host) cpuTimes() map[key]float64 {
	times := map[key]float64{}
	for _, p := range h.processes(false) {
		times[key{p.pid, p.began}] = p.cpu
	}
	return times
}

func (h *Host) processes(cgroups bool) (all []process) {
	dirs, _ := filepath.Glob(h.Proc + "/[0-9]*")
	for _, dir := range dirs {
		p, err := readStat(dir)
		if err != nil {
			continue // it has ended
		}
		if cgroups {
			b, _ := os.ReadFile(dir + "/cgroup")
			p.cgroup = cgroupOf(string(b))
		}
		all = append(all, p)
	}
	return all
}

// readStat reads what is wanted of PROC/PID/stat. The name in it, which may
// hold anything, ends at the last parenthesis.
func readStat(dir string) (p process, err error) {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if p.pid, err = strconv.Atoi(filepath.Base(dir)); err != nil || len(f) < 20 {
		return p, fmt.Errorf("cannot read %s/stat: it has %d fields", dir, len(f))
	}
	p.parent, _ = strconv.Atoi(f[1])
	for _, s := range f[11:15] { // utime, stime, and those of children that were waited for
		n, _ := strconv.ParseFloat(s, 64)
		p.cpu += n / ticks
	}
	p.began, err = strconv.ParseUint(f[19], 10, 64)
	return p, err
}

// cgroupOf is the path that holds a container's processes alone: of cgroup v2,
// else of v1's pids or memory; "" for one at the top.
func cgroupOf(text string) string {
	for _, controller := range []string{"pids", "memory", ""} {
		for line := range strings.Lines(text) {
			f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
			if len(f) == 3 && slices.Contains(strings.Split(f[1], ","), controller) && f[2] != "/" {
				return f[2]
			}
		}
	}
	return ""
}

// workload are the processes of the container whose first one is pid.
func (h *Host) workload(pid int) []process {
	all := h.processes(true)
	i := slices.IndexFunc(all, func(p process) bool { return p.pid == pid })
	if i < 0 {
		return nil
	}
	first := all[i]
	in := map[int]bool{pid: true}
	for grown := true; grown; { // a parent may be listed after its child
		grown = false
		for _, p := range all {
			inside := first.cgroup != "" && (p.cgroup == first.cgroup || strings.HasPrefix(p.cgroup, first.cgroup+"/"))
			if !in[p.pid] && (in[p.parent] || inside) {
				in[p.pid], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p process) bool { return !in[p.pid] })
}

// helperPrograms serve one container each, which they name in their arguments:
// a share of Abode's, docker's and podman's watchers.
var helperPrograms = []string{"abode-agent", "containerd-shim", "conmon"}

// helpers are the processes on the host that serve this container alone.
func (h *Host) helpers(id string) (list []process) {
	for _, p := range h.processes(false) {
		base := h.Proc + "/" + strconv.Itoa(p.pid)
		exe, err := os.Readlink(base + "/exe")
		if err != nil || !slices.ContainsFunc(helperPrograms, func(name string) bool { return strings.HasPrefix(filepath.Base(exe), name) }) {
			continue
		}
		if line, _ := os.ReadFile(base + "/cmdline"); bytes.Contains(line, []byte(id)) {
			list = append(list, p)
		}
	}
	return list
}

// pss adds up the proportional share of memory of processes, in bytes: a page
// that several map counts for each by its share.
func (h *Host) pss(list []process) (float64, error) {
	sum, found := 0.0, 0
	for _, p := range list {
		b, err := os.ReadFile(fmt.Sprintf("%s/%d/smaps_rollup", h.Proc, p.pid))
		if errors.Is(err, os.ErrPermission) {
			return 0, errors.New("only root may read the memory of other users' processes: run this with sudo")
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.ParseFloat(f[1], 64)
				sum += kb * 1024
				found++
			}
		}
	}
	if found == 0 {
		return 0, errEnded
	}
	return sum, nil
}

// status is a line of PROC/PID/status.
func (h *Host) status(pid int, name string) []string {
	b, _ := os.ReadFile(fmt.Sprintf("%s/%d/status", h.Proc, pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// isInit tells whether pid is the first process of a PID namespace below this
// machine's. If not, the engine's PIDs are those of another machine.
func (h *Host) isInit(pid int) bool {
	ids := h.status(pid, "NSpid")
	return len(ids) > 1 && ids[len(ids)-1] == "1"
}

// user is whom a process runs as.
func (h *Host) user(pid int) (*int, error) {
	ids := h.status(pid, "Uid")
	if len(ids) < 2 {
		return nil, errEnded
	}
	uid, err := strconv.Atoi(ids[1])
	return &uid, err
}

// calls are the system calls that a process can make of this machine's kernel.
func (h *Host) calls(pid int) (*reach.Calls, error) {
	var filters []reach.Filter
	switch mode := h.status(pid, "Seccomp"); {
	case h.status(pid, "Pid") == nil:
		return nil, errEnded
	case len(mode) == 0 || mode[0] == "0": // without the line, the kernel has no filters
	case mode[0] == "2":
		var err error
		if filters, err = reach.Installed(pid); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("it is in seccomp's strict mode, where there is no filter to read")
	}
	return reach.Count(filters)
}

// namespaces are the kinds of namespaces that pid doesn't share with the
// host's first process.
func (h *Host) namespaces(pid int) ([]string, error) {
	own := []string{}
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		theirs, err := os.Readlink(fmt.Sprintf("%s/%d/ns/%s", h.Proc, pid, kind))
		if errors.Is(err, os.ErrNotExist) && kind == "time" {
			continue // older than Linux 5.6
		}
		ours, err2 := os.Readlink(h.Proc + "/1/ns/" + kind)
		if err2 != nil { // forbidden in some containers: then this program's own
			ours, err2 = os.Readlink(h.Proc + "/self/ns/" + kind)
		}
		if err = errors.Join(err, err2); errors.Is(err, os.ErrPermission) {
			return nil, errors.New("only root may look at other users' processes: run this with sudo")
		} else if err != nil {
			return nil, err
		}
		if theirs != ours {
			own = append(own, kind)
		}
	}
	return own, nil
}

// bootID names this boot of the host's kernel.
func (h *Host) bootID() string {
	b, _ := os.ReadFile(h.Proc + "/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// Machine describes the host.
func (h *Host) Machine() (m Machine) {
	b, _ := os.ReadFile(h.Proc + "/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(b))
	b, _ = os.ReadFile(h.Proc + "/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			m.Memory = kb * 1024
		}
	}
	return m
}
