package vm

import (
	"bytes"
	"os"
	"sync"
	"time"

	"github.com/abode-run/abode/internal/kernel/vm/accel"
)

// tscClock measures the frequency of the host's time stamp counter, which an
// emulated guest sees as its own. A guest that has to find it out compares it
// with an emulated timer chip; on a busy host that fails now and then, and
// such a guest hangs before its first timer tick (of 15 boots, one or two).
// Told beforehand it also keeps better time.
type tscClock struct {
	once  sync.Once
	begin time.Time
	first uint64
}

// tscBaseline is the least time that the frequency is measured over: with
// readings that are off by a microsecond at most, that is 5 millionths.
const tscBaseline = 200 * time.Millisecond

func (c *tscClock) start() {
	c.once.Do(func() { c.begin, c.first = tscNow() })
}

// bootKHz is what a guest that is booted now is told.
func (p *Provider) bootKHz(s shape) int64 {
	if s.accel.Name != accel.TCG {
		return 0
	}
	return p.tsc.khz()
}

// khz returns the frequency, or 0 when the counter is not a clock here.
func (c *tscClock) khz() int64 {
	c.start()
	info, _ := os.ReadFile("/proc/cpuinfo")
	if c.first == 0 || !bytes.Contains(info, []byte("constant_tsc")) {
		return 0
	}
	if d := time.Since(c.begin); d < tscBaseline {
		time.Sleep(tscBaseline - d)
	}
	now, last := tscNow()
	took := now.Sub(c.begin)
	if last <= c.first || took <= 0 {
		return 0 // the host slept
	}
	return int64(float64(last-c.first) / (float64(took.Nanoseconds()) / 1e6))
}

// tscNow reads both clocks as close together as a few tries allow.
func tscNow() (time.Time, uint64) {
	var best time.Time
	var count uint64
	closest := time.Hour
	for range 20 {
		a := time.Now()
		c := rdtsc()
		b := time.Now()
		if d := b.Sub(a); d < closest {
			closest, best, count = d, a.Add(d/2), c
		}
	}
	return best, count
}
