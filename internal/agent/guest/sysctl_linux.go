package guest

import (
	"fmt"
	"os"
)

// settings of a guest's kernel, below /proc/sys, that make containers behave
// as on a host, which has more memory than a guest.
var settings = map[string]string{
	// An allocation beyond the limit succeeds and is killed when it is used,
	// rather than refused at once because the guest is small.
	"vm/overcommit_memory": "1",
}

func setKernel() error {
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("cannot set %s: %w", name, err)
		}
	}
	return nil
}
