package runtime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// fork clones the calling thread, with a copy of its memory, and lets the child
// run. It returns the first child's PID.
//
// SAFETY: between beforeFork and afterFork, and in the children until execve,
// the runtime may not be entered: there is one thread, no scheduler and no
// garbage collector. So nothing here allocates, splits the stack or calls
// anything but RawSyscall and the runtime's own fork hooks, as the standard
// library's forkAndExecInChild1. c and all that it points to stay alive in the
// caller.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(c *child) (pid int, errno syscall.Errno) {
	var (
		r1 uintptr
		e  syscall.Errno
	)
	flags := c.cloneFlags(0)
	beforeFork()
	if c.begin {
		r1, _, e = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.into[0])), unsafe.Sizeof(c.into), 0)
	} else {
		r1, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, uintptr(unsafe.Pointer(&c.pid)), 0, 0, 0)
	}
	if e != 0 || r1 != 0 {
		afterFork()
		return int(r1), e
	}
	c.run()
	return
}

// vfork is fork without a copy: the child has this process's memory until it
// executes or ends, and the calling thread waits so long (clone(2) on
// CLONE_VFORK). Other threads run on. A copy of the page tables, and of each
// page that is written to afterwards, is most of what a fork costs where the
// kernel is emulated.
//
// The kernel spares a child that its parent waits for when it looks for the
// victim of an exhausted cgroup (in_vfork in mm/oom_kill.c), and so this
// process, which would die with it. Nobody in the container may trace the child
// or read its memory, because this process is not dumpable (see newSpawner).
//
// SAFETY: as fork. The thread is in a system call for the scheduler, so that
// nobody waits for it: from entersyscallblock to exitsyscall the stack cannot
// grow. The child uses the stack of this function and below, so the parent
// touches nothing of it after the clone and rawVfork keeps its return address
// off the stack.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func vfork(c *child) (errno syscall.Errno) {
	flags := c.cloneFlags(unix.CLONE_VM | unix.CLONE_VFORK)
	trap, a1, a2 := uintptr(syscall.SYS_CLONE), flags, uintptr(0)
	if c.begin {
		trap, a1, a2 = unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.into[0])), unsafe.Sizeof(c.into)
	}
	entersyscallblock()
	beforeFork()
	r1 := rawVfork(trap, a1, a2, uintptr(unsafe.Pointer(&c.pid)))
	if r1 != 0 {
		afterFork()
		exitsyscall()
		if r1 > ^uintptr(maxErrno) {
			return syscall.Errno(-r1)
		}
		return 0
	}
	c.run()
	return 0
}

// rawVfork makes a system call that returns twice on one stack.
//
//go:noescape
func rawVfork(trap, a1, a2, a3 uintptr) (r1 uintptr)

// maxErrno is the highest error, which a system call returns negated
// (MAX_ERRNO in the kernel's include/linux/err.h).
const maxErrno = 4095

// cloneFlags says how the first child is cloned, also in c.into.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) cloneFlags(memory uintptr) uintptr {
	flags := memory | unix.CLONE_PARENT_SETTID
	if !c.again {
		flags |= c.flags
	}
	c.into[0], c.into[3], c.into[4] = uint64(flags)|unix.CLONE_INTO_CGROUP, uint64(uintptr(unsafe.Pointer(&c.pid))), uint64(syscall.SIGCHLD)
	return flags | uintptr(syscall.SIGCHLD)
}

// cstrings returns a NULL-terminated array of C strings. keep must stay alive
// as long as the array is used.
func cstrings(s []string) (array *uintptr, keep any) {
	bytes := make([][]byte, len(s))
	ptrs := make([]uintptr, len(s)+1)
	for i := range s {
		bytes[i] = append([]byte(s[i]), 0)
		// SAFETY: heap objects do not move; keep holds on to them.
		ptrs[i] = uintptr(unsafe.Pointer(&bytes[i][0]))
	}
	return &ptrs[0], [2]any{bytes, ptrs}
}
