// Package procfs reads what the kernel tells of a process (proc_pid_stat(5)).
package procfs

import (
	"bytes"
	"strings"
)

// UserHZ is the unit of times in /proc/PID/stat, in /proc/stat and in cgroup
// v1's cpuacct.stat, in parts of a second: on every architecture that this runs
// on.
const UserHZ = 100

// Stat splits /proc/PID/stat behind the program's name, which may hold anything
// and ends at the last parenthesis: field n of the manual page is element n-3.
// It is nil for what is no such file.
func Stat(stat []byte) []string {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return nil
	}
	return strings.Fields(string(stat[end+1:]))
}
