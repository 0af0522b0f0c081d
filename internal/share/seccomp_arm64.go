package share

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are those that Go makes on this architecture alone.
var archCalls []uint32
