package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Engines go on after their command has ended: they delete, and prepare what
// may come next. The one that runs next shall not pay for that.
const (
	calmWindow = 100 * time.Millisecond
	calmShare  = 0.25 // of one processor
	calmTimes  = 2
	calmLimit  = 30 * time.Second
)

// calm waits until the sandbox's processes have next to nothing to do. It
// counts no others, so that a busy machine does not hold it up.
func (b *bench) calm() {
	deadline := time.Now().Add(calmLimit)
	before, began, times := processorTime(), time.Now(), 0
	for times < calmTimes && time.Now().Before(deadline) && b.ctx.Err() == nil {
		time.Sleep(calmWindow)
		now, took := processorTime(), time.Since(began)
		if rest(before, now, took) {
			times++
		} else {
			times = 0
		}
		before, began = now, time.Now()
	}
}

// rest reports whether the processes have used so little since before.
func rest(before, now map[string]float64, took time.Duration) bool {
	var sum float64
	for p, t := range now {
		sum += t - before[p]
	}
	for p := range before {
		if _, there := now[p]; !there {
			return false // something was still ending
		}
	}
	return sum < calmShare*took.Seconds()
}

// processorTime is what each process but this one has used, in seconds.
func processorTime() map[string]float64 {
	const ticks = 100 // per second, in /proc, on all of Linux's ports
	all := map[string]float64{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// After the name, which may hold anything, come the state and 10 more,
		// then the time in user mode and in the kernel.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		var user, system float64
		if len(fields) < 13 {
			continue
		}
		_, _ = fmt.Sscan(fields[11], &user)
		_, _ = fmt.Sscan(fields[12], &system)
		all[e.Name()] = (user + system) / ticks
	}
	return all
}
