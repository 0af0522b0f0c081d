package runtime

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childExit waits for a child of this process through its pidfd, without a
// thread that blocks, and reaps it. It takes over pidfd.
func childExit(pidfd *os.File) (code, signal int, err error) {
	defer pidfd.Close()
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return 0, 0, fmt.Errorf("cannot watch a process: %w", err)
	}
	var werr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			// struct siginfo of SIGCHLD: signo, errno, code, pad, pid, uid, status.
			var info [128]byte
			// SAFETY: info has the size of the kernel's siginfo_t and lives during the call.
			_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, fd, uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG, 0, 0)
			if e == unix.EINTR {
				continue
			}
			if e != 0 {
				werr = e
				return true
			}
			f := *(*struct{ signo, errno, code, pad, pid, uid, status int32 })(unsafe.Pointer(&info))
			if f.pid == 0 {
				return false // alive: the poller says when to look again
			}
			const cldExited = 1
			if f.code == cldExited {
				code = int(f.status)
			} else {
				signal = int(f.status)
				code = 128 + signal
			}
			return true
		}
	})
	if err == nil {
		err = werr
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot wait for a process: %w", err)
	}
	return code, signal, nil
}

// openPidfd opens a child that was not reaped yet, so that its number is still its own.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.EINVAL { // before 5.10
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			unix.SetNonblock(fd, true)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// signalPidfd sends a signal; a process that is gone is an error.
func signalPidfd(pidfd *os.File, sig int) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), syscall.Signal(sig), nil, 0) })
	if err == nil {
		err = serr
	}
	return err
}
