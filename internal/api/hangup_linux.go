package api

import (
	"crypto/tls"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// watchHangup calls gone when the peer has closed both halves of a connection,
// also while nobody reads or writes it. It looks at a duplicate of the socket,
// which the runtime's poller tells of each change, so that the connection's
// own reader and writer are not disturbed. Over TCP a close looks like a closed
// half until something is written; but with TLS, a half is closed by an alert,
// and the end of the connection below is the end of it. stop ends the watch.
func watchHangup(conn net.Conn, gone func()) (stop func()) {
	ends := int16(unix.POLLHUP | unix.POLLERR)
	if t, ok := conn.(*tls.Conn); ok {
		conn, ends = t.NetConn(), ends|unix.POLLRDHUP
	}
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
			hung, err = hasHungUp(fd, ends)
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

// hasHungUp asks poll(2), without waiting. POLLHUP of a stream socket means
// that both halves are closed, POLLRDHUP that the peer has closed its own.
func hasHungUp(fd uintptr, ends int16) (bool, error) {
	// SAFETY: fd stays open while raw.Read's function runs, and the kernel
	// writes to fds alone, which lives until Poll returns.
	fds := []unix.PollFd{{Fd: int32(fd), Events: ends & unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0 && fds[0].Revents&ends != 0, err
	}
}
