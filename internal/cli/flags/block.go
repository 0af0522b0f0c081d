package flags

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
)

// DeviceWeights reads --blkio-weight-device: PATH:WEIGHT.
func DeviceWeights(values []string) (list []*blkiodev.WeightDevice, err error) {
	for _, v := range values {
		path, value, err := devicePath(v)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n > 0 && (n < 10 || n > 1000) {
			return nil, fmt.Errorf("invalid weight for device: %s", v)
		}
		list = append(list, &blkiodev.WeightDevice{Path: path, Weight: uint16(n)})
	}
	return list, nil
}

// DeviceRates reads --device-read-bps and its kind: PATH:RATE. A rate is a
// number, or with sizes one such as 1mb.
func DeviceRates(values []string, sizes bool) (list []*blkiodev.ThrottleDevice, err error) {
	for _, v := range values {
		path, value, err := devicePath(v)
		if err != nil {
			return nil, err
		}
		var rate uint64
		if sizes {
			n, err := units.RAMInBytes(value)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb", v)
			}
			rate = uint64(n)
		} else if rate, err = strconv.ParseUint(value, 10, 64); err != nil {
			return nil, fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>. Number must be a positive integer", v)
		}
		list = append(list, &blkiodev.ThrottleDevice{Path: path, Rate: rate})
	}
	return list, nil
}

func devicePath(v string) (path, value string, err error) {
	path, value, ok := strings.Cut(v, ":")
	if !ok || path == "" || value == "" {
		return "", "", fmt.Errorf("bad format: %s", v)
	}
	if !strings.HasPrefix(path, "/dev/") {
		return "", "", fmt.Errorf("bad format for device path: %s", v)
	}
	return path, value, nil
}
