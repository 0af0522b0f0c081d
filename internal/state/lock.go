package state

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Lock makes the caller's process the one that owns a directory of state, until
// it calls unlock or ends, however it ends. The error says who owns it.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		owner := "another process"
		b := make([]byte, 16)
		if n, _ := f.ReadAt(b, 0); n > 0 {
			owner = "process " + strings.TrimSpace(string(b[:n]))
		}
		return nil, fmt.Errorf("cannot lock %s: %s holds it: end that daemon first, or give this one another --root", path, owner)
	}
	// For the message above; the lock does not depend on it.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return func() { f.Close() }, nil
}
