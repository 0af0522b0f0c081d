package fs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// A handle is an open file or directory of the guest. Its fields are FS.mu's,
// but for dirMu.
type handle struct {
	fd    int
	dir   bool
	users int // requests under way
	gone  bool
	dirMu sync.Mutex // one reader of a directory at a time: it has one position
}

func (f *FS) newHandle(fd int, dir bool) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	fh := f.next
	f.next++
	f.handles[fh] = &handle{fd: fd, dir: dir}
	return fh
}

// acquire finds an open file and keeps it open until done is called.
func (f *FS) acquire(fh uint64) (h *handle, done func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h = f.handles[fh]
	if h == nil {
		return nil, nil, unix.EBADF
	}
	h.users++
	return h, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		h.users--
		h.settle()
	}, nil
}

// settle closes a handle that was released and that no request uses.
func (h *handle) settle() {
	if h.gone && h.users == 0 {
		closeFD(h.fd)
		h.fd = -1
	}
}

// with calls use with the descriptor of an open file, which nobody closes meanwhile.
func (f *FS) with(fh uint64, use func(fd int) error) error {
	h, done, err := f.acquire(fh)
	if err != nil {
		return err
	}
	defer done()
	return use(h.fd)
}

func (f *FS) release(fh uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.handles[fh]; h != nil {
		delete(f.handles, fh)
		h.gone = true
		h.settle()
	}
}
