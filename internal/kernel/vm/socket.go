package vm

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Sockets lie in directories whose paths may be longer than the 107 bytes that
// a unix socket's address holds, so the address goes through the directory's
// descriptor.

// listenUnix makes a socket that only root can connect to and returns it
// listening.
func listenUnix(dir, name string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot make socket %s: %w", name, err)
	}
	defer d.Close()
	os.Remove(filepath.Join(dir, name))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot make socket %s: %w", name, err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
		return nil, fmt.Errorf("cannot make socket %s: %w", name, err)
	}
	return l.File()
}

func dialUnix(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name))
}
