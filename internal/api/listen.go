package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// NewServer returns an http.Server for h with the timeouts that this API can
// stand: a client must send its header in time and may not idle for ever, but
// bodies and responses may take as long as a pull or a shell does.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Listen listens where a host URL says: unix:///path, tcp://address:port on a
// loopback address, or fd:// for the sockets that systemd passes
// (LISTEN_FDS). A unix socket gets mode 0660 and, when group is not empty,
// that group, by name or number. Closing its listener removes it. A socket
// that nobody listens on any more is replaced; a live one is an error.
func Listen(host, group string) ([]net.Listener, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", host, err)
	}
	switch u.Scheme {
	case "unix":
		l, err := listenUnix(u.Host+u.Path, group)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	case "tcp":
		return listenTCP(u.Host)
	case "fd":
		return listenFDs()
	}
	return nil, fmt.Errorf("cannot listen on %q: the address must begin with unix://, tcp:// or fd://", host)
}

// listenTCP serves loopback alone: who reaches this API owns the machine, and
// there is no TLS here to tell who it is.
func listenTCP(address string) ([]net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on tcp://%s: %w", address, err)
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("cannot listen on tcp://%s: without TLS only a loopback address is served; from elsewhere use ssh (docker -H ssh://…)", address)
	}
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on tcp://%s: %w", address, err)
	}
	return []net.Listener{l}, nil
}

func listenUnix(path, group string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("cannot listen on unix://%s: %w", path, err)
	}
	if !filepath.IsAbs(path) {
		return fail(errors.New("the path must be absolute, as in unix:///run/abode/abode.sock"))
	}
	gid := -1
	if group != "" {
		var err error
		if gid, err = groupID(group); err != nil {
			return fail(err)
		}
	}
	if err := removeDead(path); err != nil {
		return fail(err)
	}
	// The socket is born closed to all: nobody gets in before the group is set.
	old := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return fail(err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		l.Close()
		return fail(err)
	}
	return l, nil
}

// removeDead removes a socket that an ended daemon has left.
func removeDead(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return errors.New("the path is taken by something that is no socket")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return errors.New("another daemon listens there; end it or give this one another --host")
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

func groupID(group string) (int, error) {
	if g, err := user.LookupGroup(group); err == nil {
		return strconv.Atoi(g.Gid)
	}
	gid, err := strconv.Atoi(group)
	if err != nil || gid < 0 {
		return 0, fmt.Errorf("there is no group %q; create it or give another --group", group)
	}
	return gid, nil
}
