package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal in the devpts instance whose root is
// open as pts, without a path that the container could have changed.
func openTerminal(pts int) (master, slave int, err error) {
	master, err = unix.Openat(pts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("cannot make a terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(master)
		return -1, -1, fmt.Errorf("cannot unlock a terminal: %w", err)
	}
	// TIOCGPTPEER opens the other side whatever is mounted where (ioctl_tty(2)).
	// SAFETY: its argument is a number, the flags of open(2).
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		unix.Close(master)
		return -1, -1, fmt.Errorf("cannot open a terminal: %w", errno)
	}
	return master, int(fd), nil
}

// setSize sets a terminal's size.
func setSize(fd int, width, height uint) error {
	const most = 1<<16 - 1
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(min(width, most)), Row: uint16(min(height, most))})
}

// console makes the container's terminal its /dev/console.
func (b *builder) console(slave int) error {
	fd, err := cloneTree(slave, "", false)
	if err != nil {
		return fmt.Errorf("cannot bind the console: %w", err)
	}
	return b.place(fd, "/dev/console", false)
}
