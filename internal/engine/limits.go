package engine

import (
	"fmt"
	"path"
	"regexp"
	"strconv"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/kernel"
)

// checkLimits validates the limits that not every kernel can set. What it cannot
// is discarded with a warning, in Docker's words for both.
func checkLimits(r *container.Resources, can kernel.Limits, wall kernel.Isolation) (warnings []string, err error) {
	if r.MemorySwappiness != nil && *r.MemorySwappiness == -1 { // what clients send for none
		r.MemorySwappiness = nil
	}
	throttled := len(r.BlkioDeviceReadBps)+len(r.BlkioDeviceWriteBps)+len(r.BlkioDeviceReadIOps)+len(r.BlkioDeviceWriteIOps) > 0
	if (throttled || len(r.BlkioWeightDevice) > 0) && wall == kernel.VM {
		return nil, invalid("cannot use --device-read-bps and its kind, or --blkio-weight-device, with isolation %q: the host's devices are not the container's kernel's; use --isolation container", wall)
	}
	discard := func(set, supported bool, text string) bool {
		if set && !supported {
			warnings = append(warnings, text)
		}
		return set && !supported
	}
	if discard(r.MemorySwappiness != nil, can.Swappiness, "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.") {
		r.MemorySwappiness = nil
	}
	if s := r.MemorySwappiness; s != nil && (*s < 0 || *s > 100) {
		return nil, invalid("Invalid value: %d, valid memory swappiness range is 0-100", *s)
	}
	off := r.OomKillDisable != nil && *r.OomKillDisable
	if discard(off, can.OOMKillDisable, "Your kernel does not support OomKillDisable. OomKillDisable discarded.") {
		r.OomKillDisable = nil
	} else if off && r.Memory == 0 {
		warnings = append(warnings, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
	if discard(r.BlkioWeight > 0, can.IOWeight, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.") {
		r.BlkioWeight = 0
	}
	if w := r.BlkioWeight; w > 0 && (w < 10 || w > 1000) {
		return nil, invalid("Range of blkio weight is from 10 to 1000")
	}
	if discard(len(r.BlkioWeightDevice) > 0, can.IOWeightDevice, "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.") {
		r.BlkioWeightDevice = nil
	}
	for _, l := range []struct {
		list *[]*blkiodev.ThrottleDevice
		text string
	}{
		{&r.BlkioDeviceReadBps, "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded."},
		{&r.BlkioDeviceWriteBps, "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded."},
		{&r.BlkioDeviceReadIOps, "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded."},
		{&r.BlkioDeviceWriteIOps, "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded."},
	} {
		if discard(len(*l.list) > 0, can.IOThrottle, "Your kernel does not support "+l.text) {
			*l.list = nil
		}
	}
	if _, err := deviceRules(r.DeviceCgroupRules); err != nil {
		return nil, err
	}
	_, err = blockIO(r)
	return warnings, err
}

// blockIO is the part of the runtime specification for block devices, nil for
// none. It looks up the devices, which have to be there.
func blockIO(r *container.Resources) (*specs.LinuxBlockIO, error) {
	io := &specs.LinuxBlockIO{}
	set := false
	if r.BlkioWeight > 0 {
		io.Weight, set = &r.BlkioWeight, true
	}
	for _, w := range r.BlkioWeightDevice {
		if w == nil || w.Weight != 0 && (w.Weight < 10 || w.Weight > 1000) {
			return nil, invalid("Range of blkio weight is from 10 to 1000")
		}
		var d specs.LinuxWeightDevice
		var err error
		if d.Major, d.Minor, err = blockDevice(w.Path); err != nil {
			return nil, err
		}
		d.Weight = &w.Weight
		io.WeightDevice, set = append(io.WeightDevice, d), true
	}
	for _, l := range []struct {
		from []*blkiodev.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{r.BlkioDeviceReadBps, &io.ThrottleReadBpsDevice}, {r.BlkioDeviceWriteBps, &io.ThrottleWriteBpsDevice},
		{r.BlkioDeviceReadIOps, &io.ThrottleReadIOPSDevice}, {r.BlkioDeviceWriteIOps, &io.ThrottleWriteIOPSDevice},
	} {
		for _, t := range l.from {
			if t == nil {
				return nil, invalid("invalid limit of a block device: it names none")
			}
			d := specs.LinuxThrottleDevice{Rate: t.Rate}
			var err error
			if d.Major, d.Minor, err = blockDevice(t.Path); err != nil {
				return nil, err
			}
			*l.to, set = append(*l.to, d), true
		}
	}
	if !set {
		return nil, nil
	}
	return io, nil
}

// blockDevice tells the numbers of a device of the host.
func blockDevice(name string) (major, minor int64, err error) {
	if !path.IsAbs(name) {
		return 0, 0, invalid("bad format for device path: %s", name)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return 0, 0, invalid("cannot limit the block device %s: %v", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, invalid("cannot limit %s: it is not a block device", name)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

var deviceRuleRE = regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)

// deviceRules reads what --device-cgroup-rule says. The numbers are those of the
// kernel that the container runs on.
func deviceRules(rules []string) (list []specs.LinuxDeviceCgroup, err error) {
	number := func(s string) (*int64, error) {
		if s == "*" {
			return nil, nil
		}
		n, err := strconv.ParseInt(s, 10, 32)
		return &n, err
	}
	for _, rule := range rules {
		m := deviceRuleRE.FindStringSubmatch(rule)
		if m == nil {
			return nil, invalid("invalid device cgroup rule format: '%s'", rule)
		}
		d := specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
		var err1, err2 error
		d.Major, err1 = number(m[2])
		d.Minor, err2 = number(m[3])
		if err1 != nil || err2 != nil {
			return nil, invalid("invalid device cgroup rule '%s': a number is too large", rule)
		}
		list = append(list, d)
	}
	return list, nil
}

// fixedResources refuses what only a new container gets.
func fixedResources(r *container.Resources) error {
	for what, set := range map[string]bool{
		"limits of block devices":  len(r.BlkioDeviceReadBps)+len(r.BlkioDeviceWriteBps)+len(r.BlkioDeviceReadIOps)+len(r.BlkioDeviceWriteIOps)+len(r.BlkioWeightDevice) > 0,
		"memory swappiness":        r.MemorySwappiness != nil && *r.MemorySwappiness != -1,
		"what the OOM killer does": r.OomKillDisable != nil && *r.OomKillDisable,
		"devices and their rules":  len(r.Devices)+len(r.DeviceCgroupRules) > 0,
		"ulimits":                  len(r.Ulimits) > 0,
	} {
		if set {
			return instead("create another container with them", "%s", fmt.Sprintf("changing the %s of a container", what))
		}
	}
	return nil
}
