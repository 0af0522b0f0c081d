package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// give makes a new file the caller's, as if it had made it itself: in a
// directory with the set-group-ID bit the group stays the directory's.
func give(dir *node, fd int, caller fuse.Owner) error {
	gid := int(caller.Gid)
	if st, err := stat(dir.fd); err != nil {
		return err
	} else if st.Mode&unix.S_ISGID != 0 {
		gid = -1
	}
	return retry(func() error {
		return unix.Fchownat(fd, "", int(caller.Uid), gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	})
}

// made answers a request that has made name below dir: the file becomes the
// caller's, and the guest gets a reference.
func (f *FS) made(dir *node, name string, in *fuse.InHeader, mode uint32, out *fuse.EntryOut) fuse.Status {
	fd, err := openPath(dir.fd, name)
	if err != nil {
		return status(err)
	}
	if err := f.own(dir, fd, in.Owner, mode); err != nil {
		closeFD(fd)
		return status(err)
	}
	st, err := stat(fd)
	if err != nil {
		closeFD(fd)
		return status(err)
	}
	n := f.nodes.enter(dir, name, fd, keyOf(&st))
	defer f.nodes.unpin(n)
	f.entry(n, &st, out)
	return fuse.OK
}

// own gives a new file to the caller with the bits that the change of owners
// would take away.
func (f *FS) own(dir *node, fd int, caller fuse.Owner, mode uint32) error {
	if err := give(dir, fd, caller); err != nil {
		return err
	}
	if mode&(unix.S_ISUID|unix.S_ISGID) != 0 && mode&unix.S_IFMT != unix.S_IFLNK {
		return retry(func() error { return unix.Fchmodat(f.self, link(fd), mode&0o7777, 0) })
	}
	return nil
}

// Mknod implements fuse.RawFileSystem. Devices are refused: one that a guest
// makes would be the host's when it is opened there.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	switch in.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return fuse.EPERM
	}
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Mknodat(dir.fd, name, in.Mode, 0) }); err != nil {
		return status(err)
	}
	return f.made(dir, name, &in.InHeader, in.Mode, out)
}

// Mkdir implements fuse.RawFileSystem.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Mkdirat(dir.fd, name, in.Mode&0o7777) }); err != nil {
		return status(err)
	}
	return f.made(dir, name, &in.InHeader, unix.S_IFDIR, out)
}

// Symlink implements fuse.RawFileSystem. Nothing here ever follows the link.
func (f *FS) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Symlinkat(target, dir.fd, name) }); err != nil {
		return status(err)
	}
	return f.made(dir, name, in, unix.S_IFLNK, out)
}

// Link implements fuse.RawFileSystem.
func (f *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	n, err := f.nodes.pin(in.Oldnodeid)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	// AT_SYMLINK_FOLLOW follows /proc's link to the descriptor, and no other.
	err = retry(func() error { return unix.Linkat(f.self, link(n.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW) })
	if err != nil {
		return status(err)
	}
	return f.found(dir, name, out)
}

// Unlink implements fuse.RawFileSystem.
func (f *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name, 0)
}

// Rmdir implements fuse.RawFileSystem.
func (f *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name, unix.AT_REMOVEDIR)
}

func (f *FS) remove(id uint64, name string, flags int) fuse.Status {
	dir, err := f.dir(id, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	f.nodes.losing(dir, name)
	return status(retry(func() error { return unix.Unlinkat(dir.fd, name, flags) }))
}

// Rename implements fuse.RawFileSystem.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return fuse.EINVAL // a whiteout is a device
	}
	dir, err := f.dir(in.NodeId, from)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	target, err := f.dir(in.Newdir, to)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(target)
	if in.Flags&unix.RENAME_EXCHANGE == 0 {
		f.nodes.losing(target, to)
	}
	if err := retry(func() error { return unix.Renameat2(dir.fd, from, target.fd, to, uint(in.Flags)) }); err != nil {
		return status(err)
	}
	f.nodes.moved(target, to)
	if in.Flags&unix.RENAME_EXCHANGE != 0 {
		f.nodes.moved(dir, from)
	}
	return fuse.OK
}
