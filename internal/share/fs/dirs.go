package fs

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

func (f *FS) openDir(r *request, p *reply) error {
	r.take(8)
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Openat(n.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	p.handle(f.newHandle(fd, true))
	return nil
}

// readDir gives positions in a directory that are the host's own: they stay
// right while others add and remove entries.
func (f *FS) readDir(r *request, p *reply) error {
	fh, off, size := r.u64(), int64(r.u64()), int(r.u32())
	h, done, err := f.acquire(fh)
	if err != nil {
		return err
	}
	defer done()
	if !h.dir {
		return unix.ENOTDIR
	}
	room := p.room(size)
	if room == nil {
		return unix.EINVAL
	}
	h.dirMu.Lock()
	defer h.dirMu.Unlock()
	if _, err := unix.Seek(h.fd, off, unix.SEEK_SET); err != nil {
		return err
	}
	limit := len(p.buf) + size
	buf := make([]byte, min(max(size, 1024), 64<<10))
	for {
		var k int
		err := retry(func() (err error) {
			k, err = unix.ReadDirent(h.fd, buf)
			return err
		})
		if err != nil || k == 0 {
			return err
		}
		if !p.entries(buf[:k], limit) {
			return nil
		}
	}
}

// entries appends what getdents64(2) has read as struct fuse_dirent, until one
// does not fit below limit.
func (p *reply) entries(buf []byte, limit int) bool {
	// struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name.
	const header = 19
	for len(buf) > header {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= header || size > len(buf) {
			return false
		}
		name, _, _ := bytes.Cut(buf[header:size], []byte{0})
		padding := -len(name) & 7
		if len(p.buf)+24+len(name)+padding > limit {
			return false
		}
		p.u64(binary.NativeEndian.Uint64(buf), binary.NativeEndian.Uint64(buf[8:]))
		p.u32(uint32(len(name)), uint32(buf[18]))
		p.bytes(name)
		p.bytes(make([]byte, padding))
		buf = buf[size:]
	}
	return true
}
