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

const (
	maxJoins = 8
	maxFDs   = 8
	maxTasks = 16

	// The steps of a child that can fail; they travel with the errno.
	stepSync   = 1
	stepJoin   = 2
	stepClone  = 3
	stepIDs    = 4
	stepFDs    = 5
	stepExecve = 6
	stepCaps   = 7
	stepCgroup = 8
	stepUsers  = 9
)

// child is all that a forked child reads and writes.
type child struct {
	pid      int32   // of the first child, in the parent's memory before the child runs
	pause    bool    // wait for the parent before anything else
	theirs   uintptr // the parent's end of sync, closed first, so that its death is heard
	sync     uintptr // socket: one byte from the parent at each pause; pid or failure to it
	joins    [maxJoins]struct{ fd, flags uintptr }
	njoins   int
	again    bool    // join, then clone once more: what is made belongs to what was joined
	flags    uintptr // of the (second) clone: namespaces to make
	setIDs   bool    // become 0:0 of the user namespace
	keepCaps bool    // make all capabilities ambient (capabilities(7))
	caps     [2]unix.CapUserData
	head     unix.CapUserHeader
	fds      [maxFDs]uintptr
	nfds     int
	program  uintptr // sealed memfd
	argv     *uintptr
	envp     *uintptr
	empty    *byte // ""

	work  *workload  // is executed instead
	gaps  []gap      // descriptors that it has no use for
	users [2]uintptr // the files that name users, sent to the parent
	chunk struct {
		n    int64 // bytes of data, or -errno
		data [4088]byte
	}

	// A v2 cgroup to begin in, or v1's files "tasks" to write 0 to: a process
	// that moves its one thread itself waits for no grace period, unlike one
	// that is moved (cgroup_procs_write_start in the kernel, from 6.0).
	into   [11]uint64 // struct clone_args (clone(2)); into[10] is the descriptor
	begin  bool       // in into's
	tasks  [maxTasks]uintptr
	ntasks int
	zero   byte // '0'

	word [2]int64 // what is written to sync
	byte [1]byte
}

// gap is a range of descriptors.
type gap struct{ first, last uintptr }

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

// run is the child: it executes c.program or becomes c.work. With c.again, it
// ends after it has cloned the one that does, whose parent is the caller too.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) run() {
	var (
		r1   uintptr
		e    syscall.Errno
		i    int
		step int64
	)
	afterForkInChild()
	syscall.RawSyscall(syscall.SYS_CLOSE, c.theirs, 0, 0)
	if c.njoins > 0 { // it has the agent's memory, which nobody in there may read
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
	}
	step = stepCgroup
	for i = 0; i < c.ntasks; i++ {
		_, _, e = syscall.RawSyscall(syscall.SYS_WRITE, c.tasks[i], uintptr(unsafe.Pointer(&c.zero)), 1)
		if e != 0 {
			goto fail
		}
	}

	if c.pause {
		if c.work != nil { // whose parent's thread does not return to tell
			c.tell(0, 0)
		}
		step, e = c.wait()
		if step != 0 {
			goto fail
		}
	}
	step = stepJoin
	for i = 0; i < c.njoins; i++ {
		_, _, e = syscall.RawSyscall(unix.SYS_SETNS, c.joins[i].fd, c.joins[i].flags, 0)
		if e != 0 {
			goto fail
		}
	}
	if c.again {
		step = stepClone
		r1, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, c.flags|unix.CLONE_PARENT|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			goto fail
		}
		if r1 != 0 {
			c.tell(0, int64(r1))
			for {
				syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
		step, e = c.wait()
		if step != 0 {
			goto fail
		}
	}
	if c.setIDs {
		step = stepIDs
		_, _, e = syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		if e != 0 {
			goto fail
		}
		_, _, e = syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0)
		if e != 0 {
			goto fail
		}
		_, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
		if e != 0 {
			goto fail
		}
	}
	if c.keepCaps {
		step = stepCaps
		c.head.Version = unix.LINUX_CAPABILITY_VERSION_3
		_, _, e = syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&c.head)), uintptr(unsafe.Pointer(&c.caps[0])), 0)
		if e != 0 {
			goto fail
		}
		c.caps[0].Inheritable, c.caps[1].Inheritable = c.caps[0].Permitted, c.caps[1].Permitted
		_, _, e = syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&c.head)), uintptr(unsafe.Pointer(&c.caps[0])), 0)
		if e != 0 {
			goto fail
		}
		// Those that this kernel does not have it refuses.
		for i = 0; i < 64; i++ {
			syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0, 0)
		}
	}
	// After the change of user, which clears it. The parent that dies before
	// this is noticed by the end of the control socket.
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0, 0)
	if c.work != nil {
		// What it does from here may take as long as a file system of the
		// container likes, and nobody shall wait for its copies meanwhile.
		for i = range c.gaps {
			syscall.RawSyscall(unix.SYS_CLOSE_RANGE, c.gaps[i].first, c.gaps[i].last, 0)
		}
		// A session of its own, unless it leads one.
		syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
		syscall.RawSyscall(unix.SYS_UMASK, 0o022, 0, 0)
		step, e = c.askUser()
		if e == 0 {
			step, e = c.work.enter()
		}
		if e == 0 {
			step, e = c.work.execute()
		}
		goto fail
	}
	step = stepFDs
	for i = 0; i < c.nfds; i++ {
		_, _, e = syscall.RawSyscall(unix.SYS_DUP3, c.fds[i], uintptr(i), 0)
		if e != 0 {
			goto fail
		}
	}
	step = stepExecve
	_, _, e = syscall.RawSyscall6(unix.SYS_EXECVEAT, c.program, uintptr(unsafe.Pointer(c.empty)),
		uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.envp)), unix.AT_EMPTY_PATH, 0)
fail:
	c.tell(step, int64(e))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

// tell writes a word to the parent.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) tell(step, value int64) syscall.Errno {
	c.word[0], c.word[1] = step, value
	_, _, e := syscall.RawSyscall(syscall.SYS_WRITE, c.sync, uintptr(unsafe.Pointer(&c.word[0])), 16)
	return e
}

// wait waits for the parent's byte.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) wait() (step int64, e syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, c.sync, uintptr(unsafe.Pointer(&c.byte[0])), 1)
	if e != 0 || n != 1 {
		return stepSync, e
	}
	return 0, 0
}

// askUser tells the parent that all namespaces are entered, sends it the files
// that name the users there, and reads who the workload's is.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) askUser() (step int64, e syscall.Errno) {
	if e = c.tell(0, 0); e != 0 {
		return stepUsers, e
	}
	for i := range c.users {
		if e = c.sendFile(c.users[i]); e != 0 {
			return stepUsers, e
		}
	}
	have := uintptr(0)
	for have < unsafe.Sizeof(c.work.id) {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, c.sync, uintptr(unsafe.Pointer(&c.work.id))+have, unsafe.Sizeof(c.work.id)-have)
		if e != 0 || n == 0 {
			return stepUsers, e | unix.EPIPE
		}
		have += n
	}
	return 0, 0
}

// sendFile sends a regular file in chunks, of which the last is empty. The
// image's file may be anything: a pipe that never ends, or missing.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (c *child) sendFile(path uintptr) syscall.Errno {
	fd, _, e := syscall.RawSyscall6(syscall.SYS_OPENAT, atCWD, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0, 0, 0)
	there := e == 0
	if there {
		_, _, e = syscall.RawSyscall6(unix.SYS_STATX, fd, uintptr(unsafe.Pointer(c.empty)), unix.AT_EMPTY_PATH, unix.STATX_TYPE, uintptr(unsafe.Pointer(&c.work.stat)), 0)
	}
	regular := e == 0 && c.work.stat.Mode&unix.S_IFMT == unix.S_IFREG
	for {
		c.chunk.n = 0
		size := unsafe.Sizeof(c.chunk.n)
		if regular {
			n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&c.chunk.data[0])), uintptr(len(c.chunk.data)))
			if e != 0 {
				c.chunk.n = -int64(e)
			} else {
				c.chunk.n = int64(n)
				size += n
			}
		}
		if _, _, e = syscall.RawSyscall(syscall.SYS_WRITE, c.sync, uintptr(unsafe.Pointer(&c.chunk)), size); e != 0 {
			return e
		}
		if c.chunk.n <= 0 {
			break
		}
	}
	if there {
		syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	}
	return 0
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
