package share

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// archCalls are those that Go makes on this architecture alone. The table of
// x32 shares the architecture's number; its calls have a bit set that none here has.
var archCalls = []uint32{unix.SYS_ARCH_PRCTL, unix.SYS_EPOLL_WAIT}
