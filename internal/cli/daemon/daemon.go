// Package daemon reaches the engine for the CLI: it dials the API's socket
// and, when nobody listens there and the caller is root, starts aboded.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// DefaultHost is where the engine listens unless told otherwise.
const DefaultHost = "unix:///run/abode/abode.sock"

// Host is one engine's address, and how to start that engine.
type Host struct {
	Address string              // unix:///path or tcp://host:port
	Getenv  func(string) string // ABODE_ROOT, ABODE_RUN, ABODE_BRIDGE, ABODE_SUBNET
	Passive bool                // start nothing

	once    sync.Once
	started error
	failure atomic.Pointer[Error]
}

// Failure is why the engine could not be reached the last time that Dial
// tried, or nil. The API's client puts words of its own in its place.
func (h *Host) Failure() error {
	if e := h.failure.Load(); e != nil {
		return e
	}
	return nil
}

// Socket is the path of the unix socket, or "" for another kind of address.
func (h *Host) Socket() string {
	path, ok := strings.CutPrefix(h.Address, "unix://")
	if !ok {
		return ""
	}
	return path
}

// Run is the engine's directory for what doesn't outlive a boot: that of
// ABODE_RUN, else the socket's.
func (h *Host) Run() string {
	if run := h.Getenv("ABODE_RUN"); run != "" {
		return run
	}
	return filepath.Dir(h.Socket())
}

// Dial connects to the engine, which it starts (once) when its unix socket
// has no listener and the caller is root, and when it is clear which engine
// that is: the default one, or one whose directories the environment names. The network and address that
// net/http passes are not looked at. Safe for concurrent use.
func (h *Host) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := h.dial(ctx)
	if err != nil {
		e := &Error{err}
		h.failure.Store(e)
		return nil, e
	}
	h.failure.Store(nil)
	return conn, nil
}

func (h *Host) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	socket := h.Socket()
	if socket == "" {
		conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(h.Address, "tcp://"))
		if err != nil {
			return nil, fmt.Errorf("cannot reach the engine at %s: %w; is aboded running there?", h.Address, err)
		}
		return conn, nil
	}
	conn, err := d.DialContext(ctx, "unix", socket)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("permission denied for the engine's socket %s; run this as root (sudo) or as a member of the socket's group", socket)
	case !absent(err):
		return nil, fmt.Errorf("cannot reach the engine at %s: %w", h.Address, err)
	case h.Address != DefaultHost && h.Getenv("ABODE_RUN") == "":
		// An engine with the default directories would be another one's.
		return nil, fmt.Errorf("no engine listens at %s; start it with `aboded --host %s --root DIR --run DIR`, or set ABODE_ROOT and ABODE_RUN and it is started on demand", h.Address, h.Address)
	case h.Passive || os.Geteuid() != 0:
		return nil, fmt.Errorf("no engine listens at %s; start it with `sudo systemctl start abode`, or run this as root (sudo) and it is started on demand", h.Address)
	}
	h.once.Do(func() { h.started = h.start(ctx) })
	if h.started != nil {
		return nil, h.started
	}
	if conn, err = d.DialContext(ctx, "unix", socket); err != nil {
		return nil, fmt.Errorf("cannot reach the engine at %s: %w", h.Address, err)
	}
	return conn, nil
}

// Error is a failure to reach the engine, as against an answer of it.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// absent tells that no process listens on a unix socket: there is no file,
// or one that its owner left behind.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
