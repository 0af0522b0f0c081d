package fs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// GetAttr implements fuse.RawFileSystem.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	return f.getAttr(n, out)
}

func (f *FS) getAttr(n *node, out *fuse.AttrOut) fuse.Status {
	st, err := stat(n.fd)
	if err != nil {
		return status(err)
	}
	*out = fuse.AttrOut{}
	f.attr(&st, &out.Attr)
	return fuse.OK
}

// SetAttr implements fuse.RawFileSystem.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	if err := f.setAttr(n, in); err != nil {
		return status(err)
	}
	return f.getAttr(n, out)
}

// setAttr changes owners first, which may take bits off the mode, and times
// last, which a change of size sets.
func (f *FS) setAttr(n *node, in *fuse.SetAttrIn) error {
	const owner, times = fuse.FATTR_UID | fuse.FATTR_GID, fuse.FATTR_ATIME | fuse.FATTR_MTIME
	if in.Valid&owner != 0 {
		uid, gid := -1, -1
		if in.Valid&fuse.FATTR_UID != 0 {
			uid = int(in.Uid)
		}
		if in.Valid&fuse.FATTR_GID != 0 {
			gid = int(in.Gid)
		}
		err := retry(func() error {
			return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
		})
		if err != nil {
			return err
		}
	}
	if in.Valid&fuse.FATTR_MODE != 0 {
		if err := retry(func() error { return unix.Fchmodat(f.self, link(n.fd), in.Mode&0o7777, 0) }); err != nil {
			return err
		}
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		if err := f.truncate(n, in); err != nil {
			return err
		}
	}
	if in.Valid&times != 0 {
		set := func(flag, now uint32, sec uint64, nsec uint32) unix.Timespec {
			switch {
			case in.Valid&flag == 0:
				return unix.Timespec{Nsec: unix.UTIME_OMIT}
			case in.Valid&now != 0:
				return unix.Timespec{Nsec: unix.UTIME_NOW}
			}
			return unix.Timespec{Sec: int64(sec), Nsec: int64(nsec)}
		}
		ts := []unix.Timespec{
			set(fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec),
			set(fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec),
		}
		return retry(func() error { return unix.UtimesNanoAt(f.self, link(n.fd), ts, 0) })
	}
	return nil
}

func (f *FS) truncate(n *node, in *fuse.SetAttrIn) error {
	if int64(in.Size) < 0 {
		return unix.EFBIG
	}
	cut := func(fd int) error {
		if err := retry(func() error { return unix.Ftruncate(fd, int64(in.Size)) }); err != nil {
			return err
		}
		if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 {
			return dropPrivileges(fd)
		}
		return nil
	}
	if in.Valid&fuse.FATTR_FH != 0 {
		return f.with(in.Fh, cut)
	}
	fd, err := f.open(n, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return cut(fd)
}

// dropPrivileges takes the bits off a file that a write by an ordinary process
// takes away: set-user-ID, and set-group-ID where the group may execute.
func dropPrivileges(fd int) error {
	st, err := stat(fd)
	if err != nil {
		return err
	}
	mode := uint32(st.Mode)
	drop := mode & unix.S_ISUID
	if mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
		drop |= unix.S_ISGID
	}
	if drop == 0 {
		return nil
	}
	return retry(func() error { return unix.Fchmod(fd, mode&^drop&0o7777) })
}

// guestAttr tells whether an extended attribute is the guest's to see and set.
// Others mean something to the host's kernel: capabilities of a program, labels,
// access lists with the host's IDs.
func guestAttr(name string) bool { return strings.HasPrefix(name, "user.") }

// GetXAttr implements fuse.RawFileSystem.
func (f *FS) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !guestAttr(name) {
		return 0, fuse.ENODATA
	}
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer f.nodes.unpin(n)
	k, err := unix.Getxattr(xattrPath(n), name, dest)
	return uint32(max(k, 0)), status(err)
}

// maxXattrList is XATTR_LIST_MAX of linux/limits.h.
const maxXattrList = 64 << 10

// ListXAttr implements fuse.RawFileSystem.
func (f *FS) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer f.nodes.unpin(n)
	all := make([]byte, maxXattrList)
	k, err := unix.Listxattr(xattrPath(n), all)
	if err != nil {
		return 0, status(err)
	}
	var list []byte
	for name := range strings.SplitSeq(string(all[:k]), "\x00") {
		if guestAttr(name) {
			list = append(append(list, name...), 0)
		}
	}
	if len(dest) == 0 {
		return uint32(len(list)), fuse.OK
	}
	if len(list) > len(dest) {
		return uint32(len(list)), fuse.ERANGE
	}
	return uint32(copy(dest, list)), fuse.OK
}

// SetXAttr implements fuse.RawFileSystem.
func (f *FS) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	if !guestAttr(name) {
		return fuse.Status(unix.EOPNOTSUPP)
	}
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	data = data[:min(uint32(len(data)), in.Size)]
	return status(unix.Setxattr(xattrPath(n), name, data, int(in.Flags)&(unix.XATTR_CREATE|unix.XATTR_REPLACE)))
}

// RemoveXAttr implements fuse.RawFileSystem.
func (f *FS) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !guestAttr(name) {
		return fuse.ENODATA
	}
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	return status(unix.Removexattr(xattrPath(n), name))
}
