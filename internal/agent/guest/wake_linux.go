package guest

import (
	"fmt"
	"os"
	"regexp"

	"github.com/abode-run/abode/internal/agent"
	"golang.org/x/sys/unix"
)

var machineIDRE = regexp.MustCompile(`^[0-9a-f]{32}$`)

// disks are block devices whose content was another one, of the same size,
// while the template was made.
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
		if !machineIDRE.MatchString(req.MachineID) {
			return &agent.Error{Class: agent.ClassInvalid, Message: "a machine ID is 32 hexadecimal digits"}
		}
		if err := os.WriteFile("/etc/machine-id", []byte(req.MachineID+"\n"), 0o444); err != nil {
			return fmt.Errorf("cannot write the machine ID: %w", err)
		}
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
