package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// blockV1 sets what cgroup-v1/blkio-controller.rst describes.
func (c *cgroup) blockV1(io *specs.LinuxBlockIO) error {
	if io == nil {
		return nil
	}
	if io.Weight != nil {
		if err := c.write("blkio", "blkio.weight", fmt.Sprint(*io.Weight)); err != nil {
			return err
		}
	}
	for _, w := range io.WeightDevice {
		if err := c.write("blkio", "blkio.weight_device", fmt.Sprintf("%d:%d %d", w.Major, w.Minor, *w.Weight)); err != nil {
			return err
		}
	}
	for _, l := range throttles(io) {
		for _, d := range l.devices {
			if err := c.write("blkio", "blkio.throttle."+l.v1, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockV2 sets what cgroup-v2.rst describes under IO.
func (c *cgroup) blockV2(io *specs.LinuxBlockIO) error {
	if io == nil {
		return nil
	}
	if io.Weight != nil {
		if err := c.write("", "io.bfq.weight", fmt.Sprint(*io.Weight)); err != nil {
			return err
		}
		if err := c.write("", "io.weight", fmt.Sprintf("default %d", ioWeight(*io.Weight))); err != nil {
			return err
		}
	}
	for _, w := range io.WeightDevice {
		if err := c.write("", "io.bfq.weight", fmt.Sprintf("%d:%d %d", w.Major, w.Minor, *w.Weight)); err != nil {
			return err
		}
	}
	for _, line := range ioMax(io) {
		if err := c.write("", "io.max", line); err != nil {
			return err
		}
	}
	return nil
}

// throttles names the limits of devices in both versions.
func throttles(io *specs.LinuxBlockIO) []struct {
	v1, v2  string
	devices []specs.LinuxThrottleDevice
} {
	return []struct {
		v1, v2  string
		devices []specs.LinuxThrottleDevice
	}{
		{"read_bps_device", "rbps", io.ThrottleReadBpsDevice}, {"write_bps_device", "wbps", io.ThrottleWriteBpsDevice},
		{"read_iops_device", "riops", io.ThrottleReadIOPSDevice}, {"write_iops_device", "wiops", io.ThrottleWriteIOPSDevice},
	}
}

// ioMax are the lines for io.max. 0 is no limit, as in v1.
func ioMax(io *specs.LinuxBlockIO) (lines []string) {
	for _, l := range throttles(io) {
		for _, d := range l.devices {
			rate := "max"
			if d.Rate > 0 {
				rate = fmt.Sprint(d.Rate)
			}
			lines = append(lines, fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, l.v2, rate))
		}
	}
	return lines
}

// ioWeight turns v1's weight (10 to 1000) into v2's (1 to 10000), as all
// runtimes do.
func ioWeight(w uint16) uint64 {
	w = min(max(w, 10), 1000)
	return 1 + uint64(w-10)*9999/990
}
