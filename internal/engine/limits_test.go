package engine

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// What a kernel lacks is discarded with a warning; what it has is checked.
func TestLimits(t *testing.T) {
	all := kernel.Limits{Swappiness: true, OOMKillDisable: true, IOWeight: true, IOWeightDevice: true, IOThrottle: true}
	device := []*blkiodev.ThrottleDevice{{Path: "/dev/null", Rate: 1}}
	r := container.Resources{
		MemorySwappiness: p(int64(500)), OomKillDisable: p(true), BlkioWeight: 5000,
		BlkioWeightDevice:  []*blkiodev.WeightDevice{{Path: "x"}},
		BlkioDeviceReadBps: device, BlkioDeviceWriteBps: device, BlkioDeviceReadIOps: device, BlkioDeviceWriteIOps: device,
	}
	warnings, err := checkLimits(&r, kernel.Limits{}, kernel.Container)
	if err != nil || len(warnings) != 8 {
		t.Errorf("%d warnings: %q, error %v", len(warnings), warnings, err)
	}
	for _, w := range warnings {
		if !strings.HasSuffix(w, "discarded.") {
			t.Errorf("not Docker's: %q", w)
		}
	}
	if res, err := linuxResources(&r); err != nil || res.Memory != nil || res.BlockIO != nil {
		t.Errorf("what is discarded is asked for: %+v, error %v", res, err)
	}
	for want, r := range map[string]container.Resources{
		"Invalid value: 101, valid memory swappiness range is 0-100":            {MemorySwappiness: p(int64(101))},
		"Range of blkio weight is from 10 to 1000":                              {BlkioWeight: 9},
		"bad format for device path: x":                                         {BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{{Path: "x"}}},
		"cannot limit /dev/null: it is not a block device":                      {BlkioDeviceWriteIOps: device},
		"invalid limit of a block device: it names none":                        {BlkioDeviceWriteBps: []*blkiodev.ThrottleDevice{nil}},
		"invalid device cgroup rule format: 'c 1:2'":                            {DeviceCgroupRules: []string{"c 1:2"}},
		"invalid device cgroup rule 'c 99999999999:1 r': a number is too large": {DeviceCgroupRules: []string{"c 99999999999:1 r"}},
	} {
		if _, err := checkLimits(&r, all, kernel.Container); err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	r = container.Resources{BlkioDeviceReadBps: device}
	if _, err := checkLimits(&r, kernel.Limits{}, kernel.VM); err == nil {
		t.Error("a VM got a limit of a device of the host")
	}
	r = container.Resources{MemorySwappiness: p(int64(-1)), OomKillDisable: p(true), DeviceCgroupRules: []string{"a *:* rwm", "c 10:200 rw"}}
	warnings, err = checkLimits(&r, all, kernel.Container)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "OOM killer is disabled") {
		t.Errorf("%q, error %v", warnings, err)
	}
	res, err := linuxResources(&r)
	if err != nil || res.Memory == nil || res.Memory.Swappiness != nil || !*res.Memory.DisableOOMKiller {
		t.Fatalf("%+v, error %v", res, err)
	}
	if d := res.Devices; len(d) != 2 || d[0].Major != nil || *d[1].Major != 10 || *d[1].Minor != 200 || d[1].Access != "rw" || !d[1].Allow {
		t.Errorf("%+v", d)
	}
	for _, r := range []container.Resources{
		{BlkioDeviceReadBps: device}, {MemorySwappiness: p(int64(1))}, {OomKillDisable: p(true)}, {DeviceCgroupRules: []string{"a *:* r"}},
		{Ulimits: []*container.Ulimit{{Name: "nofile"}}},
	} {
		if err := fixedResources(&r); !errdefs.IsNotImplemented(err) {
			t.Errorf("an update takes %+v: %v", r, err)
		}
	}
}
