package guest

import (
	"fmt"
	"os"
	"strings"

	"github.com/abode-run/abode/internal/agent"
	"golang.org/x/sys/unix"
)

// disks are block devices whose content may be exchanged for another one, of
// the same size.
var disks = []string{"/dev/vda", "/dev/vdb"}

// wake makes a guest that may be a clone its own machine. Entropy comes first.
func wake(req agent.WakeRequest) error {
	if len(req.Entropy) < 32 {
		return &agent.Error{Class: agent.ClassInvalid, Message: "a guest is woken with at least 32 bytes of entropy"}
	}
	if err := addEntropy(req.Entropy); err != nil {
		return err
	}
	if !req.Time.IsZero() {
		ts := unix.NsecToTimespec(req.Time.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return fmt.Errorf("cannot set the clock: %w", err)
		}
	}
	if req.MachineID != "" {
		// Not a regular expression: everything here runs for the first time in
		// a clone, and under emulation one costs 15 ms then.
		if len(req.MachineID) != 32 || strings.Trim(req.MachineID, "0123456789abcdef") != "" {
			return &agent.Error{Class: agent.ClassInvalid, Message: "a machine ID is 32 hexadecimal digits"}
		}
		if err := os.WriteFile("/etc/machine-id", []byte(req.MachineID+"\n"), 0o444); err != nil {
			return fmt.Errorf("cannot write the machine ID: %w", err)
		}
	}
	if !req.NewDisks {
		return nil
	}
	for _, d := range disks {
		if err := dropCache(d); err != nil {
			return fmt.Errorf("cannot forget what %s held before: %w", d, err)
		}
	}
	return nil
}

// dropCache forgets a device's cached blocks (BLKFLSBUF).
func dropCache(dev string) error {
	f, err := os.Open(dev)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
}
