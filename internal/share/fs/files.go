package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
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

// openFlags are those that mean something for the host's file. O_APPEND is
// looked at with each write: a process may change it later. O_DIRECT would ask
// for aligned buffers.
const openFlags = unix.O_ACCMODE | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

// Open implements fuse.RawFileSystem.
func (f *FS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	fd, err := f.open(n, int(in.Flags)&openFlags)
	if err != nil {
		return status(err)
	}
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 && in.Flags&unix.O_TRUNC != 0 {
		if err := dropPrivileges(fd); err != nil {
			closeFD(fd)
			return status(err)
		}
	}
	*out = fuse.OpenOut{Fh: f.newHandle(fd, false)}
	return fuse.OK
}

// Create implements fuse.RawFileSystem.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	fd, fresh, err := f.create(dir, name, in)
	if err != nil {
		return status(err)
	}
	code := fuse.OK
	if fresh {
		code = f.made(dir, name, &in.InHeader, unix.S_IFREG|in.Mode, &out.EntryOut)
	} else {
		code = f.found(dir, name, &out.EntryOut)
	}
	if code != fuse.OK {
		closeFD(fd)
		return code
	}
	out.OpenOut = fuse.OpenOut{Fh: f.newHandle(fd, false)}
	return fuse.OK
}

// create opens name, and tells whether it made it.
func (f *FS) create(dir *node, name string, in *fuse.CreateIn) (fd int, fresh bool, err error) {
	// Not blocking, if it is a pipe that the host has put there meanwhile.
	flags := int(in.Flags)&openFlags | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	open := func(flags int) error {
		return retry(func() (err error) {
			fd, err = unix.Openat(dir.fd, name, flags, in.Mode&0o7777)
			return err
		})
	}
	for range 8 {
		if err = open(flags | unix.O_EXCL); err == nil {
			return fd, true, nil
		}
		if err != unix.EEXIST || in.Flags&unix.O_EXCL != 0 {
			return -1, false, err
		}
		err = open(flags &^ unix.O_CREAT)
		if err == unix.ENOENT {
			continue // removed in between
		}
		if err != nil {
			return -1, false, err
		}
		if st, serr := stat(fd); serr != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			closeFD(fd)
			return -1, false, unix.ENXIO
		}
		return fd, false, nil
	}
	return -1, false, err
}

// Read implements fuse.RawFileSystem.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	total := 0
	err := f.with(in.Fh, func(fd int) error {
		for total < len(buf) {
			var k int
			err := retry(func() (err error) {
				k, err = unix.Pread(fd, buf[total:], int64(in.Offset)+int64(total))
				return err
			})
			if err != nil && total == 0 {
				return err
			}
			if err != nil || k == 0 {
				break
			}
			total += k
		}
		return nil
	})
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:total]), fuse.OK
}

// Write implements fuse.RawFileSystem.
func (f *FS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	total := 0
	err := f.with(in.Fh, func(fd int) error {
		for total < len(data) {
			var k int
			err := retry(func() (err error) {
				// What the kernel writes back for a mapping says itself where it belongs.
				if in.Flags&unix.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
					k, err = unix.Pwritev2(fd, [][]byte{data[total:]}, 0, unix.RWF_APPEND)
				} else {
					k, err = unix.Pwrite(fd, data[total:], int64(in.Offset)+int64(total))
				}
				return err
			})
			if err != nil && total == 0 {
				return err
			}
			if err != nil || k == 0 {
				break
			}
			total += k
		}
		if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
			return dropPrivileges(fd)
		}
		return nil
	})
	return uint32(total), status(err)
}

// Release implements fuse.RawFileSystem.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { f.release(in.Fh) }

// Fsync implements fuse.RawFileSystem.
func (f *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(f.with(in.Fh, func(fd int) error {
		if in.FsyncFlags&1 != 0 {
			return retry(func() error { return unix.Fdatasync(fd) })
		}
		return retry(func() error { return unix.Fsync(fd) })
	}))
}

// Fallocate implements fuse.RawFileSystem.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	return status(f.with(in.Fh, func(fd int) error {
		return retry(func() error { return unix.Fallocate(fd, in.Mode, int64(in.Offset), int64(in.Length)) })
	}))
}

// Lseek implements fuse.RawFileSystem: data and holes alone come here.
func (f *FS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return fuse.EINVAL
	}
	return status(f.with(in.Fh, func(fd int) error {
		off, err := unix.Seek(fd, int64(in.Offset), int(in.Whence))
		out.Offset = uint64(off)
		return err
	}))
}

// CopyFileRange implements fuse.RawFileSystem.
func (f *FS) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (n uint32, code fuse.Status) {
	err := f.with(in.FhIn, func(from int) error {
		return f.with(in.FhOut, func(to int) error {
			offIn, offOut := int64(in.OffIn), int64(in.OffOut)
			k, err := unix.CopyFileRange(from, &offIn, to, &offOut, int(min(in.Len, 1<<30)), 0)
			n = uint32(max(k, 0))
			return err
		})
	})
	return n, status(err)
}
