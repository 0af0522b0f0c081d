package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A process is one of the sandbox: /proc shows no others.
type process struct {
	pid     int
	program string // the executable's name
	args    []string
}

// is reports whether the process runs one of the programs.
func (p process) is(programs ...string) bool {
	for _, name := range programs {
		if p.program == name {
			return true
		}
	}
	return false
}

// processes lists those that run now.
func processes() (all []process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil {
			continue // ended, or a thread of the kernel
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		line, _ := os.ReadFile(dir + "/cmdline")
		all = append(all, process{
			pid: pid,
			// One that executes itself from a memory file is that program too.
			program: strings.TrimPrefix(filepath.Base(strings.TrimSuffix(exe, " (deleted)")), "memfd:"),
			args:    strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00"),
		})
	}
	return all
}

// pss adds up the processes' proportional share of memory, in bytes, and counts
// them: pages that several processes map count for each by its share.
func pss(mine func(process) bool) (sum float64, count int) {
	for _, p := range processes() {
		if !mine(p) {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			continue // it has just ended
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.ParseFloat(f[1], 64)
				sum += kb * 1024
				count++
			}
		}
	}
	return sum, count
}

// used is the machine's memory that is not available, in bytes: also what
// kernels keep for containers, and what no process maps.
func used() float64 {
	b, _ := os.ReadFile("/proc/meminfo")
	var total, available float64
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "MemTotal:":
			total = kb * 1024
		case "MemAvailable:":
			available = kb * 1024
		}
	}
	return total - available
}
