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
// A guest caches next to nothing: changes by the host and by other containers
// are seen by the next system call that names a file, and in a file that is
// open after a clock tick of the guest at most. Locks are the guest kernel's own.
//
// The protocol is spoken here and not by a library: those take their kernel
// at its word, and what they do when a program starts is paid for by every
// stage of a container, which is the same program.
package fs

import "golang.org/x/sys/unix"

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

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func closeFD(fd int) { _ = unix.Close(fd) }
