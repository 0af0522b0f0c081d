package runtime

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/abode-run/abode/internal/agent"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// capNames are capabilities(7), by number.
var capNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// capSets are bit masks. Bits that the kernel or this process does not have
// are dropped when they are applied.
type capSets struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

func capabilitySets(c *specs.LinuxCapabilities) (s capSets, err error) {
	if c == nil {
		return s, nil
	}
	for _, set := range []struct {
		names []string
		mask  *uint64
	}{{c.Bounding, &s.bounding}, {c.Effective, &s.effective}, {c.Permitted, &s.permitted}, {c.Inheritable, &s.inheritable}, {c.Ambient, &s.ambient}} {
		if *set.mask, err = capMask(set.names); err != nil {
			return s, err
		}
	}
	return s, nil
}

func capMask(names []string) (mask uint64, err error) {
next:
	for _, name := range names {
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		for i, known := range capNames {
			if short == known {
				mask |= 1 << i
				continue next
			}
		}
		return 0, errorf(agent.ClassInvalid, "unknown capability %q", name)
	}
	return mask, nil
}

// lastCap is the highest capability of this kernel, which stays as it is.
var lastCap = sync.OnceValue(func() int {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n < 64 {
			return n
		}
	}
	return len(capNames) - 1
})
