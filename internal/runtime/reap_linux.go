package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// reapMain is PID 1 of a container that asked for an init: it starts the
// workload, forwards signals to it, reaps orphans, and ends as the workload
// did. It has the workload's credentials and filter already. args: whether
// there is a terminal, the program's path, its arguments.
func reapMain(args []string) {
	if len(args) < 3 {
		os.Exit(exitStage)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	signal.Reset(syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG)
	attr := &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if args[0] == "1" { // the workload, not this process, gets what is typed
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	child, err := os.StartProcess(args[1], args[2:], attr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "exec %s: %v\n", args[1], errors.Unwrap(err))
		if errors.Is(err, os.ErrNotExist) {
			os.Exit(127)
		}
		os.Exit(126)
	}
	for s := range signals {
		sig := s.(syscall.Signal)
		if sig != unix.SIGCHLD {
			if sig != unix.SIGURG { // the Go runtime's own
				syscall.Kill(child.Pid, sig)
			}
			continue
		}
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if pid <= 0 {
				break
			}
			if pid != child.Pid {
				continue
			}
			if status.Signaled() {
				os.Exit(128 + int(status.Signal()))
			}
			os.Exit(status.ExitStatus())
		}
	}
}
