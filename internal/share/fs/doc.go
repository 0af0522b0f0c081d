// Package fs serves one share of a host directory, or file, over the FUSE
// protocol to a guest that may send whatever it likes.
//
// Files are known by descriptors, never by paths from the guest: a request
// names a node and at most one component below it, which is opened without
// following links. So nothing that a guest sends, and no symbolic link, leads
// out of the share; the process's jail is the second wall. Files keep the IDs
// that requests carry, permission checks are the guest kernel's, and what is
// shared read-only lies on a mount that refuses changes.
//
// Nothing is cached for a guest: changes by the host and by other containers
// are seen by the next system call. Locks are the guest kernel's own.
package fs

import (
	"golang.org/x/sys/unix"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// key identifies a file of the host, also after it was closed meanwhile: an
// inode's number may be used again, its time of birth not.
type key struct {
	dev, ino  uint64
	birthSec  int64
	birthNsec uint32
}

const statxMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// stat reads the attributes of an open file.
func stat(fd int) (unix.Statx_t, error) {
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, statxMask, &st) })
	return st, err
}

func keyOf(st *unix.Statx_t) key {
	k := key{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		k.birthSec, k.birthNsec = st.Btime.Sec, st.Btime.Nsec
	}
	return k
}

// attr converts attributes. The share has one device in the guest, so that the
// numbers of inodes from other file systems below it are told apart.
func (f *FS) attr(st *unix.Statx_t, out *fuse.Attr) {
	ino := st.Ino
	if dev := unix.Mkdev(st.Dev_major, st.Dev_minor); dev != f.dev {
		ino ^= (dev*0x9e3779b97f4a7c15)&^0xffffffff | 1<<63
	}
	*out = fuse.Attr{
		Ino:       ino,
		Size:      st.Size,
		Blocks:    st.Blocks,
		Atime:     uint64(st.Atime.Sec),
		Mtime:     uint64(st.Mtime.Sec),
		Ctime:     uint64(st.Ctime.Sec),
		Atimensec: st.Atime.Nsec,
		Mtimensec: st.Mtime.Nsec,
		Ctimensec: st.Ctime.Nsec,
		Mode:      uint32(st.Mode),
		Nlink:     st.Nlink,
		Owner:     fuse.Owner{Uid: st.Uid, Gid: st.Gid},
		Rdev:      uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor)),
		Blksize:   st.Blksize,
	}
}

// status turns an error of a system call into a reply's.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	return fuse.ToStatus(err)
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func closeFD(fd int) { _ = unix.Close(fd) }
