package engine

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/seccomp"
)

// allCapabilities are those of Linux 6.18 (capability.h), by number.
var allCapabilities = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID
	CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK
	CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT
	CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL
	CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON
	CAP_BPF CAP_CHECKPOINT_RESTORE`)

// defaultCapabilities are Docker's.
var defaultCapabilities = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID
	CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE`)

// capabilities returns the set that a container's root has: the default, with
// what is to be added and without what is to be dropped. ALL stands for all;
// dropping ALL leaves what is added by name, adding ALL what is not dropped.
// A privileged container has them all, whatever else is said, as with Docker.
func capabilities(h *container.HostConfig) ([]string, error) {
	add, err := capabilityNames(h.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := capabilityNames(h.CapDrop)
	if err != nil {
		return nil, err
	}
	if h.Privileged {
		return allCapabilities, nil
	}
	var list []string
	for _, c := range allCapabilities {
		has := slices.Contains(defaultCapabilities, c)
		switch {
		case slices.Contains(add, "ALL"):
			has = !slices.Contains(drop, c)
		case slices.Contains(drop, "ALL"):
			has = slices.Contains(add, c)
		case slices.Contains(add, c):
			has = true // also one that is dropped, as with Docker
		case slices.Contains(drop, c):
			has = false
		}
		if has {
			list = append(list, c)
		}
	}
	return list, nil
}

func capabilityNames(names []string) ([]string, error) {
	var list []string
	for _, n := range names {
		c := strings.ToUpper(n)
		if c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if c == "CAP_ALL" {
			c = "ALL"
		}
		if c != "ALL" && !slices.Contains(allCapabilities, c) {
			return nil, invalid("invalid capability: unknown capability: %q", n)
		}
		list = append(list, c)
	}
	return list, nil
}

// seccompProgram compiles what s asks for; nil means none.
func seccompProgram(s security, caps []string) ([]byte, error) {
	if s.Unconfined {
		return nil, nil
	}
	return seccomp.Program(s.Profile, caps)
}
