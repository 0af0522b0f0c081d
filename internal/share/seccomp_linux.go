package share

import (
	"golang.org/x/sys/unix"
)

// allowedCalls are those of Go's run time and of package fs. Calls that open,
// change or create files are further bound by what the jail holds.
var allowedCalls = []uint32{
	// Files.
	unix.SYS_OPENAT, unix.SYS_CLOSE, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PWRITEV2,
	unix.SYS_STATX, unix.SYS_FSTAT, unix.SYS_FSTATFS, unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_LSEEK,
	unix.SYS_MKNODAT, unix.SYS_MKDIRAT, unix.SYS_SYMLINKAT, unix.SYS_LINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2,
	unix.SYS_FCHOWNAT, unix.SYS_FCHMODAT, unix.SYS_FCHMOD, unix.SYS_UTIMENSAT, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
	unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_COPY_FILE_RANGE,
	unix.SYS_GETXATTR, unix.SYS_SETXATTR, unix.SYS_LISTXATTR, unix.SYS_REMOVEXATTR,
	// The connection.
	unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT,
	unix.SYS_FCNTL, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_PPOLL,
	// The run time: memory, threads, signals, time.
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MPROTECT, unix.SYS_BRK, unix.SYS_MINCORE, unix.SYS_PRCTL,
	unix.SYS_CLONE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_TGKILL, unix.SYS_SIGALTSTACK, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION,
	unix.SYS_RT_SIGRETURN, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL, unix.SYS_GETRANDOM, unix.SYS_PRLIMIT64,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1,
}

// Offsets in struct seccomp_data.
const (
	dataNR   = 0
	dataArch = 4
)

// seccompFilter returns a program that allows those calls and answers the
// others with EPERM, but ends the process for a call by another architecture's
// table.
func seccompFilter() []unix.SockFilter {
	calls := append(append([]uint32{}, allowedCalls...), archCalls...)
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	load := func(off uint32) unix.SockFilter { return stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, off) }
	ret := func(v uint32) unix.SockFilter { return stmt(unix.BPF_RET|unix.BPF_K, v) }
	prog := []unix.SockFilter{
		load(dataArch),
		jump(auditArch, 1, 0),
		ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataNR),
	}
	for _, nr := range calls { // each: allow, or look at the next
		prog = append(prog, jump(nr, 0, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(prog, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
}
