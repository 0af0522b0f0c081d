package reach

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stopTime is how long a process may take to stop.
const stopTime = 2 * time.Second

const (
	mostFilters      = 64
	mostInstructions = 4096 // BPF_MAXINSNS: of one program
)

// Installed reads the filters that are installed on a process, which stops for
// that moment. The caller knows that there are any: a process without is an
// error.
func Installed(pid int) (filters []Filter, err error) {
	done := make(chan struct{})
	go func() { // a tracer is a thread: this one lets go at its end, whatever happens
		defer close(done)
		runtime.LockOSThread()
		var free bool
		if filters, free, err = trace(pid); free {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return filters, err
}

// trace reports besides whether the process is not traced any more.
func trace(pid int) (filters []Filter, free bool, err error) {
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, true, explain(err)
	}
	if err := stop(pid); err != nil {
		return nil, false, err
	}
	defer func() { free = unix.PtraceDetach(pid) == nil }()
	for i := range mostFilters {
		f, err := installed(pid, i)
		if err == unix.ENOENT && i > 0 {
			return filters, false, nil
		}
		if err != nil {
			return nil, false, explain(err)
		}
		filters = append(filters, f)
	}
	return nil, false, fmt.Errorf("it has more than %d filters", mostFilters)
}

func stop(pid int) error {
	if err := unix.PtraceInterrupt(pid); err != nil {
		return explain(err)
	}
	for end := time.Now().Add(stopTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return explain(err)
		case got == pid && status.Stopped():
			return nil
		case got == pid:
			return explain(unix.ESRCH)
		}
	}
	return fmt.Errorf("it did not stop within %s", stopTime)
}

// installed reads filter i of a stopped process.
func installed(pid, i int) (Filter, error) {
	ask := func(to *unix.SockFilter) (int, error) {
		// SAFETY: without a place to write to, the kernel tells the length alone;
		// with one, it has the room for that length, and a filter never changes.
		n, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), uintptr(i), uintptr(unsafe.Pointer(to)), 0, 0)
		if e != 0 {
			return 0, e
		}
		return int(n), nil
	}
	n, err := ask(nil)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > mostInstructions {
		return nil, fmt.Errorf("a filter has %d instructions", n)
	}
	f := make(Filter, n)
	if _, err := ask(&f[0]); err != nil {
		return nil, err
	}
	return f, nil
}

// explain says what an error of ptrace means here.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return ErrNotAllowed
	case errors.Is(err, unix.ESRCH):
		return errors.New("the process ended meanwhile")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EIO):
		return errors.New("this kernel does not tell a process's seccomp filters (CONFIG_CHECKPOINT_RESTORE)")
	default:
		return fmt.Errorf("cannot read its seccomp filters: %w", err)
	}
}
