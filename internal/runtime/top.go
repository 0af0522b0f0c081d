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
)

// Top lists a container's processes as `ps -ef` does.
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
	boot := bootTime()
	top := agent.TopResponse{Titles: []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}, Processes: [][]string{}}
	for _, pid := range pids {
		if row := c.psRow(pid, boot); row != nil {
			top.Processes = append(top.Processes, row)
		}
	}
	return top, nil
}

// psRow describes a process; nil when it has gone.
func (c *container) psRow(pid int, boot time.Time) []string {
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return nil
	}
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	f := strings.Fields(string(stat[end+1:]))
	if open < 0 || end < open || len(f) < 20 {
		return nil
	}
	n := func(i int) int64 {
		v, _ := strconv.ParseInt(f[i], 10, 64)
		return v
	}
	// Fields of proc_pid_stat(5), counted from the state, which is the third.
	ppid, tty, ticks, start := f[1], n(4), n(11)+n(12), n(19)
	cmdline, _ := os.ReadFile(procPath(pid, "cmdline"))
	cmd := strings.TrimSpace(string(bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '})))
	if cmd == "" {
		cmd = "[" + string(stat[open+1:end]) + "]"
	}
	uid := "?"
	var st unix.Stat_t
	if unix.Stat(procPath(pid, "task", strconv.Itoa(pid)), &st) == nil {
		uid = c.userName(int(st.Uid))
	}
	began := boot.Add(time.Duration(start) * time.Second / userHZ)
	stime := began.Format("15:04")
	if time.Since(began) > 24*time.Hour {
		stime = began.Format("Jan02")
	}
	cpu := int64(0)
	if alive := int64(time.Since(began) / time.Second); alive > 0 {
		cpu = min(ticks*100/userHZ/alive, 99)
	}
	secs := ticks / userHZ
	return []string{
		uid, strconv.Itoa(pid), ppid, strconv.FormatInt(cpu, 10), stime, ttyName(tty),
		fmt.Sprintf("%02d:%02d:%02d", secs/3600, secs/60%60, secs%60), cmd,
	}
}

// userName shows root by name, as ps would, and others by the number that
// they have in the container.
func (c *container) userName(uid int) string {
	for _, m := range c.spec.Linux.UIDMappings {
		if off := uid - int(m.HostID); off >= 0 && off < int(m.Size) {
			uid = int(m.ContainerID) + off
			break
		}
	}
	if uid == 0 {
		return "root"
	}
	return strconv.Itoa(uid)
}

func ttyName(dev int64) string {
	major, minor := unix.Major(uint64(dev)), unix.Minor(uint64(dev))
	if major >= 136 && major <= 143 {
		return fmt.Sprintf("pts/%d", (major-136)<<20|minor)
	}
	return "?"
}

func bootTime() time.Time {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(now.Nano()))
}
