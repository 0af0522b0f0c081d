package fs

import "golang.org/x/sys/unix"

// made answers a request that has made name below dir: the file becomes the
// caller's, and the guest gets a reference. mode has the file's type.
func (f *FS) made(dir *node, name string, r *request, mode uint32, p *reply) error {
	fd, err := openPath(dir.fd, name)
	if err != nil {
		return err
	}
	if err := f.give(dir, fd, r, mode); err != nil {
		closeFD(fd)
		return err
	}
	st, err := stat(fd)
	if err != nil {
		closeFD(fd)
		return err
	}
	n := f.nodes.enter(dir, name, fd, keyOf(&st))
	defer f.nodes.unpin(n)
	p.entry(n, &st, f.dev)
	return nil
}

// give makes a new file the caller's, as if it had made it itself: in a
// directory with the set-group-ID bit the group stays the directory's. Bits
// that the change of owners takes away are set again.
func (f *FS) give(dir *node, fd int, r *request, mode uint32) error {
	gid := int(r.gid)
	if st, err := stat(dir.fd); err != nil {
		return err
	} else if st.Mode&unix.S_ISGID != 0 {
		gid = -1
	}
	err := retry(func() error {
		return unix.Fchownat(fd, "", int(r.uid), gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	})
	if err == nil && mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		err = retry(func() error { return unix.Fchmodat(f.self, own(fd), mode&0o7777, 0) })
	}
	return err
}

// mknod refuses devices: one that a guest makes would be the host's when it is
// opened there.
func (f *FS) mknod(r *request, p *reply) error {
	mode := r.u32()
	r.take(12) // the device, the umask (the mode has it already), padding
	name := r.text()
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return unix.EPERM
	}
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Mknodat(dir.fd, name, mode, 0) }); err != nil {
		return err
	}
	return f.made(dir, name, r, mode, p)
}

func (f *FS) mkdir(r *request, p *reply) error {
	mode := r.u32()
	r.u32()
	name := r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Mkdirat(dir.fd, name, mode&0o7777) }); err != nil {
		return err
	}
	return f.made(dir, name, r, unix.S_IFDIR, p)
}

// symlink makes a link that nothing here ever follows.
func (f *FS) symlink(r *request, p *reply) error {
	name, target := r.text(), r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	if err := retry(func() error { return unix.Symlinkat(target, dir.fd, name) }); err != nil {
		return err
	}
	return f.made(dir, name, r, unix.S_IFLNK, p)
}

func (f *FS) link(r *request, p *reply) error {
	old, name := r.u64(), r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	n, err := f.nodes.pin(old)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	// AT_SYMLINK_FOLLOW follows /proc's link to the descriptor, and no other.
	err = retry(func() error { return unix.Linkat(f.self, own(n.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW) })
	if err != nil {
		return err
	}
	return f.found(dir, name, p)
}

func (f *FS) remove(r *request, flags int) error {
	name := r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	f.nodes.losing(dir, name)
	return retry(func() error { return unix.Unlinkat(dir.fd, name, flags) })
}

func (f *FS) rename(r *request) error {
	newdir, flags := r.u64(), uint32(0)
	if r.op == opRename2 {
		flags = r.u32()
		r.u32()
	}
	from, to := r.text(), r.text()
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return unix.EINVAL // a whiteout is a device
	}
	dir, err := f.dir(r, r.node, from)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	target, err := f.dir(r, newdir, to)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(target)
	if flags&unix.RENAME_EXCHANGE == 0 {
		f.nodes.losing(target, to)
	}
	if err := retry(func() error { return unix.Renameat2(dir.fd, from, target.fd, to, uint(flags)) }); err != nil {
		return err
	}
	f.nodes.moved(target, to)
	if flags&unix.RENAME_EXCHANGE != 0 {
		f.nodes.moved(dir, from)
	}
	return nil
}
