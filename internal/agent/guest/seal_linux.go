package guest

import (
	"fmt"
	"os"
	"strings"

	"github.com/abode-run/abode/internal/runtime"
	"golang.org/x/sys/unix"
)

// sealed is in the environment of an agent that was executed anew.
const sealed = "ABODE_SEALED=1"

// seal executes the agent anew, once, from where its containers' first processes
// have their program.
//
// Under emulation a goroutine works for longer than the scheduler has patience,
// so it would be interrupted by signals all the time: asyncpreemptoff leaves
// that to the places where a function is called.
func seal() error {
	name, value, _ := strings.Cut(sealed, "=")
	if os.Getenv(name) == value {
		os.Unsetenv(name)
		return unix.Unmount("/proc", unix.MNT_DETACH) // mountSystem has its own
	}
	if err := unix.Mount("proc", "/proc", "proc", noExec, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	return runtime.ExecSealed(append(os.Environ(), sealed, "GODEBUG=asyncpreemptoff=1"))
}
