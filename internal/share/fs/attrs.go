package fs

import "golang.org/x/sys/unix"

func (f *FS) getAttr(r *request, p *reply) error {
	r.take(16) // a handle: the node is as good
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	return f.attrOf(n, p)
}

// attrOf answers with struct fuse_attr_out.
func (f *FS) attrOf(n *node, p *reply) error {
	st, err := stat(n.fd)
	if err != nil {
		return err
	}
	p.u64(0)
	p.u32(attrValid, 0)
	p.attr(&st, f.dev)
	return nil
}

// changes are the contents of struct fuse_setattr_in.
type changes struct {
	valid        uint32
	fh           uint64
	size         int64
	atime, mtime unix.Timespec
	mode         uint32
	uid, gid     uint32
}

func (r *request) changes() changes {
	var c changes
	c.valid = r.u32()
	r.u32()
	c.fh, c.size = r.u64(), int64(r.u64())
	r.u64() // the owner of a lock
	c.atime.Sec, c.mtime.Sec = int64(r.u64()), int64(r.u64())
	r.u64() // the time of change is the host's to say
	c.atime.Nsec, c.mtime.Nsec = int64(r.u32()), int64(r.u32())
	r.u32()
	c.mode = r.u32()
	r.u32()
	c.uid, c.gid = r.u32(), r.u32()
	r.u32()
	return c
}

func (f *FS) setAttr(r *request, p *reply) error {
	c := r.changes()
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	if err := f.change(n, &c); err != nil {
		return err
	}
	return f.attrOf(n, p)
}

// change begins with the owners, whose change may take bits off the mode, and
// ends with the times, which a change of size sets.
func (f *FS) change(n *node, c *changes) error {
	if c.valid&(setUID|setGID) != 0 {
		uid, gid := -1, -1
		if c.valid&setUID != 0 {
			uid = int(c.uid)
		}
		if c.valid&setGID != 0 {
			gid = int(c.gid)
		}
		err := retry(func() error {
			return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
		})
		if err != nil {
			return err
		}
	}
	if c.valid&setMode != 0 {
		if err := retry(func() error { return unix.Fchmodat(f.self, own(n.fd), c.mode&0o7777, 0) }); err != nil {
			return err
		}
	}
	if c.valid&setSize != 0 {
		if err := f.truncate(n, c); err != nil {
			return err
		}
	}
	if c.valid&(setAtime|setMtime) == 0 {
		return nil
	}
	pick := func(flag, now uint32, t unix.Timespec) unix.Timespec {
		switch {
		case c.valid&flag == 0:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case c.valid&now != 0:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return t
	}
	times := []unix.Timespec{pick(setAtime, setAtimeNow, c.atime), pick(setMtime, setMtimeNow, c.mtime)}
	return retry(func() error { return unix.UtimesNanoAt(f.self, own(n.fd), times, 0) })
}

func (f *FS) truncate(n *node, c *changes) error {
	cut := func(fd int) error {
		if err := retry(func() error { return unix.Ftruncate(fd, c.size) }); err != nil {
			return err
		}
		if c.valid&setKillSUIDGID != 0 {
			return dropPrivileges(fd)
		}
		return nil
	}
	if c.valid&setHandle != 0 {
		return f.with(c.fh, cut)
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
