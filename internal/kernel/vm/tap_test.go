package vm

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tap that is somebody's for a moment is waited for; one that stays so is
// an error.
func TestTapInUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	name := fmt.Sprintf("abtt%d", os.Getpid()%1e6)
	first, err := attachTap(name, flags) // not persistent: it goes with its file
	if err != nil {
		t.Fatal(err)
	}
	if f, err := attachTap(name, flags); !errors.Is(err, unix.EBUSY) {
		f.Close()
		t.Errorf("a tap that is in use: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { first.Close() })
	second, err := attachTap(name, flags)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
