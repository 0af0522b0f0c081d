package runtime

import (
	"fmt"
	"strings"

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

// rlimits sets limits as far as this process may: raising a hard limit takes
// CAP_SYS_RESOURCE on the kernel's own user namespace.
func (p *program) rlimits() {
	files := false
	for _, l := range p.Rlimits {
		n, ok := rlimitNames[strings.TrimPrefix(strings.ToUpper(l.Type), "RLIMIT_")]
		if !ok {
			p.warnings = append(p.warnings, fmt.Sprintf("limit %s is unknown", l.Type))
			continue
		}
		files = files || n == unix.RLIMIT_NOFILE
		want := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		err := unix.Prlimit(0, n, &want, nil)
		if err == nil {
			continue
		}
		var have unix.Rlimit
		if unix.Prlimit(0, n, nil, &have) == nil {
			_ = unix.Prlimit(0, n, &unix.Rlimit{Cur: min(l.Soft, have.Max), Max: min(l.Hard, have.Max)}, nil)
			p.warnings = append(p.warnings, fmt.Sprintf("limit %s stays at most %d, because raising it is not permitted: %v", l.Type, have.Max, err))
		}
	}
	if !files {
		var have unix.Rlimit
		if unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &have) == nil {
			_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(softFiles, have.Max), Max: have.Max}, nil)
		}
	}
}
