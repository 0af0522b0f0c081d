package api

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// watchHangup calls gone when the peer has closed both halves of a connection,
// also while nobody reads or writes it. It looks at a duplicate of the socket,
// which the runtime's poller tells of each change, so that the connection's
// own reader and writer are not disturbed. Over TCP a close looks like a closed
// half until something is written; there it sees resets alone. stop ends the
// watch.
func watchHangup(conn net.Conn, gone func()) (stop func()) {
	fc, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return func() {}
	}
	dup, err := fc.File()
	if err != nil {
		return func() {}
	}
	raw, err := dup.SyscallConn()
	if err != nil {
		dup.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		hung := false
		err := raw.Read(func(fd uintptr) bool {
			var err error
			hung, err = hasHungUp(fd)
			return hung || err != nil
		})
		if err == nil && hung {
			gone()
		}
	}()
	return func() {
		dup.Close() // wakes the read
		<-done
	}
}

// hasHungUp asks poll(2), without waiting. POLLHUP and POLLERR are reported
// unasked; POLLHUP of a stream socket means that both halves are closed.
func hasHungUp(fd uintptr) (bool, error) {
	// SAFETY: fd stays open while raw.Read's function runs, and the kernel
	// writes to fds alone, which lives until Poll returns.
	fds := []unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0, err
	}
}
