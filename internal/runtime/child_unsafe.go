package runtime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
	undumpable()
	step = stepCgroup
	for i = 0; i < c.ntasks; i++ {
		_, _, e = syscall.RawSyscall(syscall.SYS_WRITE, c.tasks[i], uintptr(unsafe.Pointer(&c.zero)), 1)
		if e != 0 {
			goto fail
		}
	}

	if c.pause {
		if c.work != nil { // whose parent's thread does not return to tell
			_ = c.tell(0, 0)
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
			_ = c.tell(0, int64(r1))
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
		undumpable()
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
	_ = c.tell(step, int64(e))
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
