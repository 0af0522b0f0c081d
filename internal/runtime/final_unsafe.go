package runtime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// final loads the seccomp program, drops to the last capabilities and executes.
// It returns only on failure; what is empty when execve itself failed.
//
// SAFETY: once the filter is loaded, a system call that the Go runtime makes
// may fail or kill, so only raw ones that the workload's own start needs are
// made, all on this locked thread. Without no_new_privs the filter can be
// loaded only while CAP_SYS_ADMIN is effective, so capset(2) comes after it;
// with it, nothing but execve does.
//
//go:norace
func final(filter []byte, noNewPrivs bool, caps *capSets, dir int, name *byte, argv, envp []*byte, flags int) (errno syscall.Errno, what string) {
	type sockFprog struct {
		len    uint16
		filter *byte
	}
	const insn = 8 // bytes of a struct sock_filter
	var prog sockFprog
	if len(filter) > 0 {
		if len(filter)%insn != 0 || len(filter)/insn > 4096 {
			return unix.EINVAL, "load the seccomp program, which is not one"
		}
		prog = sockFprog{len: uint16(len(filter) / insn), filter: &filter[0]}
	}
	load := func() syscall.Errno {
		if len(filter) == 0 {
			return 0
		}
		_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
		return e
	}
	if !noNewPrivs {
		if e := load(); e != 0 {
			return e, "load the seccomp program"
		}
	}
	if e := caps.apply(); e != 0 {
		return e, "drop capabilities"
	}
	if noNewPrivs {
		if e := load(); e != 0 {
			return e, "load the seccomp program"
		}
	}
	_, _, e := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(dir), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), uintptr(flags), 0)
	return e, ""
}

// apply sets the thread's capabilities, then the ambient ones, which must be
// permitted and inheritable by then.
func (c *capSets) apply() syscall.Errno {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(c.effective >> shift),
			Permitted:   uint32(c.permitted >> shift),
			Inheritable: uint32(c.inheritable >> shift),
		}
	}
	// SAFETY: both live on this stack during the call.
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0); e != 0 {
		return e
	}
	for i := range uint(64) {
		if c.ambient&(1<<i) != 0 {
			if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0, 0); e != 0 {
				return e
			}
		}
	}
	return 0
}
