package fs

import (
	"bytes"
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// OpenDir implements fuse.RawFileSystem.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Openat(n.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return status(err)
	}
	*out = fuse.OpenOut{Fh: f.newHandle(fd, true)}
	return fuse.OK
}

// ReadDir implements fuse.RawFileSystem. The position in a directory is the
// host's own, which stays right while others add and remove entries.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	h, done, err := f.acquire(in.Fh)
	if err != nil {
		return status(err)
	}
	defer done()
	if !h.dir {
		return fuse.ENOTDIR
	}
	h.dirMu.Lock()
	defer h.dirMu.Unlock()
	return status(readDir(h.fd, in, out))
}

func readDir(fd int, in *fuse.ReadIn, out *fuse.DirEntryList) error {
	if _, err := unix.Seek(fd, int64(in.Offset), unix.SEEK_SET); err != nil {
		return err
	}
	buf := make([]byte, min(max(in.Size, 1024), 64<<10))
	for {
		var k int
		err := retry(func() (err error) {
			k, err = unix.ReadDirent(fd, buf)
			return err
		})
		if err != nil || k == 0 {
			return err
		}
		if !addEntries(buf[:k], out) {
			return nil
		}
	}
}

// addEntries appends the entries that getdents64(2) has read, until one does
// not fit.
func addEntries(buf []byte, out *fuse.DirEntryList) bool {
	// struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name.
	const header = 19
	for len(buf) > header {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= header || size > len(buf) {
			return false
		}
		name, _, _ := bytes.Cut(buf[header:size], []byte{0})
		ok := out.AddDirEntry(fuse.DirEntry{
			Ino:  binary.NativeEndian.Uint64(buf),
			Off:  binary.NativeEndian.Uint64(buf[8:]),
			Mode: uint32(buf[18]) << 12,
			Name: string(name),
		})
		if !ok {
			return false
		}
		buf = buf[size:]
	}
	return true
}

// ReleaseDir implements fuse.RawFileSystem.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) { f.release(in.Fh) }

// FsyncDir implements fuse.RawFileSystem.
func (f *FS) FsyncDir(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status { return f.Fsync(c, in) }
