package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/abode-run/abode/internal/procfs"
	"golang.org/x/sys/unix"
)

// A process is one that outlives the daemon: known by its ID and start time,
// held by a pidfd, so that no signal ever reaches another one.
type process struct {
	PID   int
	Start uint64 // clock ticks after boot (proc_pid_stat(5), field 22)

	pidfd *os.File
	gone  chan struct{} // closed when it has ended
}

// startDetached starts cmd in a session of its own and reaps it when it ends.
func startDetached(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	pidfd := -1
	cmd.SysProcAttr.PidFD = &pidfd
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{PID: cmd.Process.Pid, gone: make(chan struct{})}
	p.Start, _ = startTime(p.PID) // it cannot be reaped before Wait
	if pidfd >= 0 {
		p.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	}
	go func() {
		_ = cmd.Wait() // how it ended is for its log
		close(p.gone)
	}()
	return p, nil
}

// findProcess returns the process with that ID and start time, if it lives.
func findProcess(pid int, start uint64) (*process, error) {
	if pid <= 1 {
		return nil, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot find process %d: %w", pid, err)
	}
	// What has this ID now keeps it for as long as it is not reaped.
	if now, err := startTime(pid); err != nil || now != start {
		unix.Close(fd)
		return nil, os.ErrProcessDone
	}
	p := &process{PID: pid, Start: start, pidfd: os.NewFile(uintptr(fd), "pidfd"), gone: make(chan struct{})}
	go func() {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); err != unix.EINTR {
				break
			}
		}
		close(p.gone)
	}()
	return p, nil
}

// signal sends sig; to a process that has ended it does nothing.
func (p *process) signal(sig unix.Signal) {
	if p.pidfd == nil {
		return
	}
	_ = unix.PidfdSendSignal(int(p.pidfd.Fd()), sig, nil, 0)
}

// alive says whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// end asks the process to end, insists after the grace, and returns when it
// has ended.
func (p *process) end(ctx context.Context, grace time.Duration) {
	if !p.alive() {
		return
	}
	if grace > 0 {
		p.signal(unix.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.gone:
			return
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	p.signal(unix.SIGKILL)
	<-p.gone
}

var errNoStat = errors.New("no start time")

// startTime reads field 22 of /proc/PID/stat.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	f := procfs.Stat(b)
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, errNoStat
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// findByName returns the IDs of processes whose arguments hold arg as a whole.
func findByName(arg string) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue
		}
		for a := range bytes.SplitSeq(b, []byte{0}) {
			if string(a) == arg {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
