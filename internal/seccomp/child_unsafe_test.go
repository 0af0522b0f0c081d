package seccomp

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// child loads the program on its standard input and prints what some system
// calls return.
func child() {
	runtime.LockOSThread()
	program, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	fprog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	// SAFETY: fprog and program live until the call has returned.
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); e != 0 {
		panic(e)
	}
	runtime.KeepAlive(program)
	for name, nr := range map[string]uintptr{
		"getpid": unix.SYS_GETPID, "mount": unix.SYS_MOUNT, "keyctl": unix.SYS_KEYCTL, "unshare": unix.SYS_UNSHARE, "newer": 900,
	} {
		_, _, e := unix.Syscall(nr, 0, 0, 0)
		fmt.Printf("%s: %v\n", name, e)
	}
	os.Exit(0)
}
