package runtime

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var rlimitNames = map[string]int{
	"CPU": unix.RLIMIT_CPU, "FSIZE": unix.RLIMIT_FSIZE, "DATA": unix.RLIMIT_DATA, "STACK": unix.RLIMIT_STACK,
	"CORE": unix.RLIMIT_CORE, "RSS": unix.RLIMIT_RSS, "NPROC": unix.RLIMIT_NPROC, "NOFILE": unix.RLIMIT_NOFILE,
	"MEMLOCK": unix.RLIMIT_MEMLOCK, "AS": unix.RLIMIT_AS, "LOCKS": unix.RLIMIT_LOCKS,
	"SIGPENDING": unix.RLIMIT_SIGPENDING, "MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE,
	"RTPRIO": unix.RLIMIT_RTPRIO, "RTTIME": unix.RLIMIT_RTTIME,
}

// softFiles is the soft limit of open files that a workload gets unless it is
// told: what login sessions have, and not what Go raises its own to. Programs
// that close every number up to the limit take long with more.
const softFiles = 1024

// setLimits lays limits out: as they are wanted, and as far as this process may
// set them, because raising a hard limit takes CAP_SYS_RESOURCE on the kernel's
// own user namespace.
func (w *workload) setLimits(list []specs.POSIXRlimit) {
	files := false
	for _, l := range list {
		n, ok := rlimitNames[strings.TrimPrefix(strings.ToUpper(l.Type), "RLIMIT_")]
		if !ok {
			w.warnings = append(w.warnings, fmt.Sprintf("limit %s is unknown", l.Type))
			continue
		}
		files = files || n == unix.RLIMIT_NOFILE
		w.setLimit(n, l.Soft, l.Hard)
	}
	if !files {
		w.setLimit(unix.RLIMIT_NOFILE, softFiles, ^uint64(0))
		own := &w.limits[len(w.limits)-1]
		own.want = own.allowed
	}
}

func (w *workload) setLimit(n int, soft, hard uint64) {
	l := limit{resource: n, want: unix.Rlimit{Cur: soft, Max: hard}}
	l.allowed = l.want
	var have unix.Rlimit
	if unix.Prlimit(0, n, nil, &have) == nil {
		l.allowed = unix.Rlimit{Cur: min(soft, have.Max), Max: min(hard, have.Max)}
	}
	w.limits = append(w.limits, l)
}

// lowered tells of limits that enter could not set as they were wanted.
func (w *workload) lowered() (warnings []string) {
	for name, n := range rlimitNames {
		for _, l := range w.limits {
			if l.resource == n && l.lowered {
				warnings = append(warnings, fmt.Sprintf("limit %s stays at most %d, because raising it is not permitted", name, l.allowed.Max))
			}
		}
	}
	return warnings
}
