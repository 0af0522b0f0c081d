package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// openTap attaches to an existing tap, with the header that lets a guest leave
// checksums and segmentation to the host.
func openTap(name string) (*os.File, error) {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	b, err := os.ReadFile(filepath.Join("/sys/class/net", name, "tun_flags"))
	if err != nil {
		return nil, fmt.Errorf("network interface %s is not a tap: %w", name, err)
	}
	made, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 16)
	if err != nil || made&unix.IFF_TAP == 0 {
		return nil, fmt.Errorf("network interface %s is not a tap", name)
	}
	flags |= uint16(made) & unix.IFF_MULTI_QUEUE // must be as it was made
	return attachTap(name, flags)
}

// tapPatience is how long a tap may be another's before that is an error.
const tapPatience = 2 * time.Second

func attachTap(name string, flags uint16) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		// A process that this one is just forking has a copy of every
		// descriptor until it executes: of the one, too, that made the tap.
		for deadline := time.Now().Add(tapPatience); err == unix.EBUSY && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot attach to tap %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// deadTap returns a tap that leads nowhere, for a guest without a network:
// it lies in a network namespace of its own, which lives as long as the file.
// A guest with and one without a network are then the same machine, and one
// template serves both.
func deadTap() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	ch := make(chan result)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it the
		// last way to the namespace but the tap.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ch <- result{err: fmt.Errorf("cannot make a network namespace: %w", err)}
			return
		}
		f, err := attachTap("dead0", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
		ch <- result{f, err}
	}()
	r := <-ch
	return r.f, r.err
}
