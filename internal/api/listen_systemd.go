package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstFD = 3

// listenFDs takes over the sockets of socket activation. It may be called once.
func listenFDs(access TLS) ([]net.Listener, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, errors.New("cannot listen on fd://: systemd has passed no sockets to this process; start it from its socket unit or give another --host")
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > 1024 {
		return nil, fmt.Errorf("cannot listen on fd://: LISTEN_FDS is %q", os.Getenv("LISTEN_FDS"))
	}
	// Not for the processes that this one starts.
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	var ls []net.Listener
	fail := func(fd int, err error) ([]net.Listener, error) {
		for _, l := range ls {
			l.Close()
		}
		return nil, fmt.Errorf("cannot listen on descriptor %d from systemd: %w", fd, err)
	}
	for fd := firstFD; fd < firstFD+n; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		f.Close() // the listener has a duplicate
		if err != nil {
			return fail(fd, err)
		}
		ls = append(ls, l)
		if u, ok := l.(*net.UnixListener); ok { // it has an owner
			u.SetUnlinkOnClose(false) // the path is systemd's
			continue
		}
		c, err := access.config()
		if err != nil {
			return fail(fd, err)
		}
		ls[len(ls)-1] = tls.NewListener(l, c)
	}
	return ls, nil
}
