package runtime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A workload is all that a process has to become, laid out ahead: enter and
// execute carry it out with raw system calls alone, on the calling thread,
// which executes the workload. So a stage can do it, and a child of a fork in
// which the Go runtime is not there.
//
// SAFETY: neither allocates, splits the stack or stores a pointer; what they
// point to is kept alive by keep. Credentials, filters and capabilities belong
// to threads, so that the raw calls change this one only, which is meant.
type workload struct {
	terminal int // becomes the controlling one, and all streams; -1: none
	streams  [3]int
	limits   []limit
	lastCap  int
	id       identification
	cwd      uintptr
	above    []uintptr // the directories above cwd and cwd itself: made when it is missing
	paths    []uintptr // where the program may be
	named    bool      // paths is what the caller wrote, not what PATH says

	noNewPrivs bool
	filter     struct {
		len   uint16 // instructions
		first uintptr
	}
	caps    capSets
	program int // is executed instead of what was found; -1: none
	argv    []uintptr
	envp    []uintptr

	found int // by enter: the index in paths

	head     unix.CapUserHeader
	have     [2]unix.CapUserData
	stat     unix.Statx_t
	nul      [1]byte
	keep     []any
	warnings []string

	// For errors alone.
	name, directory string
	candidates      []string
}

const (
	maxGroups = 1024
	maxHome   = 4096
)

// identification is whom a workload runs as, and its home for the environment,
// as an agent sends it to a child.
type identification struct {
	uid, gid, ngroups uint32
	groups            [maxGroups]uint32
	home              [len("HOME=") + maxHome + 1]byte
}

// limit is a resource limit, and what is possible of it without privileges.
type limit struct {
	resource      int
	want, allowed unix.Rlimit
	lowered       bool // by enter
}

// The steps of a workload that can fail; see stepSync.
const (
	stepTerminal = 20 + iota
	stepStreams
	stepBounding
	stepGroups
	stepMkdir
	stepChdir
	stepKeepCaps
	stepGID
	stepUID
	stepTie
	stepGetCaps
	stepAdjustCaps
	stepFind
	stepFindDir
	stepNoNewPrivs
	stepSeccomp
	stepCapabilities
	stepExecute

	stepPath = 1 << 16 // times the index in paths, is added to stepExecute
)

// enter does all but the last: streams, limits, credentials, the working
// directory, and finding the program.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) enter() (step int64, e syscall.Errno) {
	if w.terminal >= 0 {
		if _, _, e = syscall.RawSyscall(unix.SYS_IOCTL, uintptr(w.terminal), unix.TIOCSCTTY, 0); e != 0 {
			return stepTerminal, e
		}
	}
	for i := range w.streams {
		fd := w.streams[i]
		if w.terminal >= 0 {
			fd = w.terminal
		}
		if fd < 0 {
			continue
		}
		if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, uintptr(fd), uintptr(i), 0); e != 0 {
			return stepStreams, e
		}
	}
	for i := range w.limits {
		l := &w.limits[i]
		if _, _, e = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(l.resource), uintptr(unsafe.Pointer(&l.want)), 0, 0, 0); e != 0 {
			l.lowered = true
			syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(l.resource), uintptr(unsafe.Pointer(&l.allowed)), 0, 0, 0)
		}
	}
	for i := 0; i <= w.lastCap; i++ {
		if w.caps.bounding&(1<<uint(i)) != 0 {
			continue
		}
		_, _, e = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(i), 0, 0, 0, 0)
		if e != 0 && e != unix.EINVAL {
			return stepBounding, e
		}
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(w.id.ngroups), uintptr(unsafe.Pointer(&w.id.groups[0])), 0); e != 0 {
		return stepGroups, e
	}
	// As root first, then as the user, who may see more on a network share.
	_, _, chdir := syscall.RawSyscall(unix.SYS_CHDIR, w.cwd, 0, 0)
	if chdir == unix.ENOENT {
		for i := range w.above {
			_, _, e = syscall.RawSyscall(unix.SYS_MKDIRAT, atCWD, w.above[i], 0o755)
			if e != 0 && e != unix.EEXIST && e != unix.EROFS {
				return stepMkdir, e
			}
		}
		_, _, chdir = syscall.RawSyscall(unix.SYS_CHDIR, w.cwd, 0, 0)
	}
	if step, e = w.become(); e != 0 {
		return step, e
	}
	if chdir != 0 {
		if _, _, e = syscall.RawSyscall(unix.SYS_CHDIR, w.cwd, 0, 0); e != 0 {
			return stepChdir, e
		}
	}
	return w.find()
}

// become takes the workload's IDs and keeps, until execute, the capabilities
// that this takes.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) become() (step int64, e syscall.Errno) {
	if _, _, e = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0); e != 0 {
		return stepKeepCaps, e
	}
	id := uintptr(w.id.gid)
	if _, _, e = syscall.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return stepGID, e
	}
	id = uintptr(w.id.uid)
	if _, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return stepUID, e
	}
	undumpable()
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0, 0)
	// Every change of credentials clears it.
	if _, _, e = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); e != 0 {
		return stepTie, e
	}
	// A user other than root has lost what was effective, so that the program
	// is looked up with the user's eyes. Seccomp without no_new_privs needs
	// CAP_SYS_ADMIN until the end.
	w.head.Version = unix.LINUX_CAPABILITY_VERSION_3
	if _, _, e = syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&w.head)), uintptr(unsafe.Pointer(&w.have[0])), 0); e != 0 {
		return stepGetCaps, e
	}
	permitted := uint64(w.have[0].Permitted) | uint64(w.have[1].Permitted)<<32
	w.caps.permitted &= permitted
	w.caps.effective &= w.caps.permitted
	w.caps.inheritable &= permitted & w.caps.bounding
	w.caps.ambient &= w.caps.permitted & w.caps.inheritable
	if !w.noNewPrivs && w.filter.len > 0 {
		w.have[0].Effective |= w.have[0].Permitted & (1 << unix.CAP_SYS_ADMIN)
		if _, _, e = syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&w.head)), uintptr(unsafe.Pointer(&w.have[0])), 0); e != 0 {
			return stepAdjustCaps, e
		}
	}
	return 0, 0
}

// undumpable keeps the memory of this process, which may be the agent's, from
// whoever has the privilege to trace in the container. A change of user sets
// it to what fs.suid_dumpable says (proc(5)).
//
//go:norace
//go:nosplit
func undumpable() {
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
}

// find looks for the program as execvp(3) does.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) find() (step int64, e syscall.Errno) {
	missing := syscall.Errno(unix.ENOENT)
	for i := range w.paths {
		step = stepFind
		_, _, e = syscall.RawSyscall6(unix.SYS_STATX, atCWD, w.paths[i], 0, unix.STATX_TYPE, uintptr(unsafe.Pointer(&w.stat)), 0)
		if e == 0 && w.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			step, e = stepFindDir, unix.EACCES
		}
		if e == 0 {
			_, _, e = syscall.RawSyscall6(unix.SYS_FACCESSAT2, atCWD, w.paths[i], unix.X_OK, unix.AT_EACCESS, 0, 0)
		}
		if e == 0 {
			w.found = i
			return 0, 0
		}
		if w.named {
			return step, e
		}
		if e == unix.EACCES {
			missing = e
		}
	}
	return stepFind, missing
}

// execute loads the seccomp program, drops to the last capabilities and
// executes. It returns only on failure.
//
// Once the filter is loaded, a system call that the Go runtime makes may fail
// or kill. Without no_new_privs the filter can be loaded only while
// CAP_SYS_ADMIN is effective, so capset(2) comes after it; with it, nothing but
// execve does.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) execute() (step int64, e syscall.Errno) {
	if w.noNewPrivs {
		if _, _, e = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
			return stepNoNewPrivs, e
		}
	} else if e = w.load(); e != 0 {
		return stepSeccomp, e
	}
	if e = w.apply(); e != 0 {
		return stepCapabilities, e
	}
	if w.noNewPrivs {
		if e = w.load(); e != 0 {
			return stepSeccomp, e
		}
	}
	dir, name, flags := atCWD, w.paths[w.found], uintptr(0)
	if w.program >= 0 {
		dir, name, flags = uintptr(w.program), uintptr(unsafe.Pointer(&w.nul[0])), unix.AT_EMPTY_PATH
	}
	_, _, e = syscall.RawSyscall6(unix.SYS_EXECVEAT, dir, name,
		uintptr(unsafe.Pointer(&w.argv[0])), uintptr(unsafe.Pointer(&w.envp[0])), flags, 0)
	return stepExecute + int64(w.found)*stepPath, e
}

//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) load() syscall.Errno {
	if w.filter.len == 0 {
		return 0
	}
	_, _, e := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&w.filter)))
	return e
}

// apply sets the thread's capabilities, then the ambient ones, which must be
// permitted and inheritable by then.
//
//go:norace
//go:nosplit
//go:nocheckptr
func (w *workload) apply() syscall.Errno {
	for i := range w.have {
		shift := 32 * uint(i)
		w.have[i].Effective = uint32(w.caps.effective >> shift)
		w.have[i].Permitted = uint32(w.caps.permitted >> shift)
		w.have[i].Inheritable = uint32(w.caps.inheritable >> shift)
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&w.head)), uintptr(unsafe.Pointer(&w.have[0])), 0); e != 0 {
		return e
	}
	for i := uint(0); i < 64; i++ {
		if w.caps.ambient&(1<<i) != 0 {
			if _, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0, 0); e != 0 {
				return e
			}
		}
	}
	return 0
}

// atCWD is AT_FDCWD as a register has it.
const atCWD = ^uintptr(99)

// address returns where b begins, and has it kept.
func (w *workload) address(b []byte) uintptr {
	w.keep = append(w.keep, b)
	// SAFETY: heap objects do not move; keep holds on to them.
	return uintptr(unsafe.Pointer(&b[0]))
}

// homeEnv is where the environment has the home, which may be known late.
func (w *workload) homeEnv() uintptr {
	// SAFETY: w is on the heap, and outlives the arrays that point into it.
	return uintptr(unsafe.Pointer(&w.id.home[0]))
}

// bytes is the identification as it travels.
func (i *identification) bytes() []byte {
	// SAFETY: i has no pointers; both ends are one program.
	return unsafe.Slice((*byte)(unsafe.Pointer(i)), unsafe.Sizeof(*i))
}
