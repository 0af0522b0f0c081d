package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What is written for block devices, in files that stand for a v2 cgroup's.
func TestBlockV2(t *testing.T) {
	device := func(major int64, rate uint64) []specs.LinuxThrottleDevice {
		d := specs.LinuxThrottleDevice{Rate: rate}
		d.Major = major
		return []specs.LinuxThrottleDevice{d}
	}
	weight := uint16(505)
	io := &specs.LinuxBlockIO{
		Weight: &weight, ThrottleReadBpsDevice: device(8, 1<<20), ThrottleWriteBpsDevice: device(9, 0),
		ThrottleReadIOPSDevice: device(10, 7), ThrottleWriteIOPSDevice: device(11, 8),
	}
	if d := cmp.Diff([]string{"8:0 rbps=1048576", "9:0 wbps=max", "10:0 riops=7", "11:0 wiops=8"}, ioMax(io)); d != "" {
		t.Error(d)
	}
	dir := t.TempDir()
	for _, f := range []string{"io.max", "io.weight"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &cgroup{h: &hierarchies{v2: dir}, dirs: map[string]string{"": dir}}
	if err := c.blockV2(io); err != nil {
		t.Fatal(err)
	}
	if got := c.read("", "io.weight"); got != "default 5000" {
		t.Errorf("weight %q", got)
	}
	if got := c.read("", "io.max"); got != "11:0 wiops=8" { // the kernel keeps all lines, a file the last
		t.Errorf("limits %q", got)
	}
	for w, want := range map[uint16]uint64{10: 1, 1000: 10000} {
		if got := ioWeight(w); got != want {
			t.Errorf("%d became %d, want %d", w, got, want)
		}
	}
}
