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

// Access says who may use the API.
type Access struct {
	Group string // may use the unix sockets, by name or number; empty: root alone
	TLS   TLS    // for TCP
}

// Listen listens where a host URL says: unix:///path, tcp://address:port, or
// fd:// for the sockets that systemd passes (LISTEN_FDS). A unix socket gets
// mode 0660. Closing its listener removes it. A socket that nobody listens on
// any more is replaced; a live one is an error. On TCP, also systemd's, only
// clients with a certificate of Access.TLS.CA are served.
func Listen(host string, access Access) ([]net.Listener, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", host, err)
	}
	switch u.Scheme {
	case "unix":
		l, err := listenUnix(u.Host+u.Path, access.Group)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	case "tcp":
		l, err := listenTCP(u.Host, access.TLS)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on tcp://%s: %w", u.Host, err)
		}
		return []net.Listener{l}, nil
	case "fd":
		return listenFDs(access.TLS)
	}
	return nil, fmt.Errorf("cannot listen on %q: the address must begin with unix://, tcp:// or fd://", host)
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
