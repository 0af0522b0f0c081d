package reach

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// child installs the program on its standard input, as often as it was told,
// and waits for its end. Its main thread is the one that is looked at.
func child() {
	program, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	fprog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	for range int(os.Getenv("REACH_TEST_CHILD")[0] - '0') {
		// SAFETY: fprog and program live until the call has returned.
		if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog))); e != 0 {
			panic(e)
		}
	}
	runtime.KeepAlive(program)
	fmt.Println("ready")
	time.Sleep(time.Hour)
}
