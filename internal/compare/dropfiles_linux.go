package compare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropFiles makes the kernel forget the contents of the files that a process
// writes to; they are on disk before.
func (h *Host) dropFiles(pid int) error {
	fds, err := os.ReadDir(fmt.Sprintf("%s/%d/fd", h.Proc, pid))
	if errors.Is(err, os.ErrPermission) {
		return errors.New("only root may drop the host's cache of a virtual machine's disk: run this with sudo")
	}
	if err != nil {
		return err
	}
	for _, fd := range fds {
		base := fmt.Sprintf("%s/%d", h.Proc, pid)
		if !writable(filepath.Join(base, "fdinfo", fd.Name())) {
			continue
		}
		name := filepath.Join(base, "fd", fd.Name())
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue // to open a device or a pipe could do something
		}
		if err := drop(name); err != nil {
			return err
		}
	}
	return nil
}

func writable(fdinfo string) bool {
	b, _ := os.ReadFile(fdinfo)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 32)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

func drop(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, unix.ENXIO) {
		return nil // an eventfd or such, which newer kernels call a regular file
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var where unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &where); err != nil {
		return err
	}
	if where.Type == unix.TMPFS_MAGIC {
		return nil // a guest's memory is such a file: there is no disk behind it
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
