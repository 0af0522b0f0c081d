package runtime

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/procfs"
)

// Top tells of a container's processes what ps would show.
func (r *Runtime) Top(id string) (agent.TopResponse, error) {
	c, err := r.get(id)
	if err != nil {
		return agent.TopResponse{}, err
	}
	if !c.main.running() {
		return agent.TopResponse{}, errorf(agent.ClassConflict, "container %s is not running", id)
	}
	pids, err := c.cgroup.procs()
	if err != nil {
		return agent.TopResponse{}, fmt.Errorf("cannot list the container's processes: %w", err)
	}
	var now unix.Timespec
	var mem unix.Sysinfo_t
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return agent.TopResponse{}, fmt.Errorf("cannot read the time since boot: %w", err)
	}
	if err := unix.Sysinfo(&mem); err != nil {
		return agent.TopResponse{}, fmt.Errorf("cannot ask the kernel about its memory: %w", err)
	}
	top := agent.TopResponse{MemTotal: uint64(mem.Totalram) * uint64(mem.Unit), Processes: []agent.TopProcess{}}
	for _, pid := range pids {
		if p, ok := c.figures(pid, time.Duration(now.Nano())); ok {
			top.Processes = append(top.Processes, p)
		}
	}
	return top, nil
}

// figures describes a process; not ok when it has gone.
func (c *container) figures(pid int, uptime time.Duration) (p agent.TopProcess, ok bool) {
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return p, false
	}
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	f := procfs.Stat(stat)
	if open < 0 || end < open || len(f) < 37 {
		return p, false
	}
	// By their numbers in proc_pid_stat(5); the state, of number 3, is f[0].
	n := func(field int) int {
		v, _ := strconv.Atoi(f[field-3]) // as large as none of these is: 0
		return v
	}
	ticks := func(field int) time.Duration { return time.Duration(n(field)) * time.Second / procfs.UserHZ }
	cmdline, _ := os.ReadFile(procPath(pid, "cmdline"))
	p = agent.TopProcess{
		PID: pid, PPID: n(4), PGID: n(5), SID: n(6), UID: -1,
		Comm: string(stat[open+1 : end]), Args: strings.TrimSpace(string(bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '}))),
		TTY: ttyName(n(7)), Priority: n(18), Nice: n(19), Threads: n(20), Processor: n(39),
		CPU: ticks(14) + ticks(15), Age: uptime - ticks(22), VSize: uint64(n(23)), RSS: uint64(n(24)) * uint64(os.Getpagesize()),
	}
	for _, flag := range []struct {
		set  bool
		mark string
	}{
		{true, f[0]}, {p.Nice < 0, "<"}, {p.Nice > 0, "N"}, {p.SID == pid, "s"}, {p.Threads > 1, "l"}, {n(8) == p.PGID, "+"},
	} {
		if flag.set {
			p.Stat += flag.mark
		}
	}
	var st unix.Stat_t
	if unix.Stat(procPath(pid, "task", strconv.Itoa(pid)), &st) == nil {
		p.UID = c.ownUID(int(st.Uid))
	}
	return p, true
}

// ownUID is the number that a user of the kernel's has in the container.
func (c *container) ownUID(uid int) int {
	for _, m := range c.spec.Linux.UIDMappings {
		if off := uid - int(m.HostID); off >= 0 && off < int(m.Size) {
			return int(m.ContainerID) + off
		}
	}
	return uid
}

func ttyName(dev int) string {
	major, minor := unix.Major(uint64(dev)), unix.Minor(uint64(dev))
	if major >= 136 && major <= 143 {
		return fmt.Sprintf("pts/%d", (major-136)<<20|minor)
	}
	return ""
}
