package runtime

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setGroups sets this thread's supplementary groups; g is not empty.
func setGroups(g []uint32) error {
	// SAFETY: g lives during the call and has the kernel's layout of gid_t.
	// Raw, because groups belong to threads and only this one matters.
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(g)), uintptr(unsafe.Pointer(&g[0])), 0)
	if e != 0 {
		return e
	}
	return nil
}
