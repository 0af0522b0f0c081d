package guest

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addEntropy mixes p into the kernel's pool, credits it, and makes every CPU's
// generator take a new key from there (random(4)). After it, no output follows
// from a state that another guest has too.
func addEntropy(p []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot open the random generator: %w", err)
	}
	defer f.Close()
	// struct rand_pool_info { int entropy_count; int buf_size; __u32 buf[]; }
	info := make([]byte, 8+len(p))
	binary.NativeEndian.PutUint32(info, uint32(len(p)*8)) // bits
	binary.NativeEndian.PutUint32(info[4:], uint32(len(p)))
	copy(info[8:], p)
	// SAFETY: info is alive during the call and as long as its buf_size field says.
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("cannot add entropy: %w", errno)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0); err != nil {
		return fmt.Errorf("cannot reseed the random generator: %w", err)
	}
	clear(info)
	return nil
}
