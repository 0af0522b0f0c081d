package fs

import "golang.org/x/sys/unix"

// openFlags are those that mean something for the host's file. O_APPEND is
// looked at with each write: a process may change it later. O_DIRECT would ask
// for aligned buffers.
const openFlags = unix.O_ACCMODE | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

func (f *FS) openFile(r *request, p *reply) error {
	flags, how := r.u32(), r.u32()
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	fd, err := f.open(n, int(flags)&openFlags)
	if err != nil {
		return err
	}
	if how&openKillSUIDGID != 0 && flags&unix.O_TRUNC != 0 {
		if err := dropPrivileges(fd); err != nil {
			closeFD(fd)
			return err
		}
	}
	p.handle(f.newHandle(fd, false))
	return nil
}

func (f *FS) createFile(r *request, p *reply) error {
	flags, mode := r.u32(), r.u32()
	r.take(8) // the umask, which the mode has already, and flags for truncation
	name := r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	fd, fresh, err := create(dir, name, flags, mode)
	if err != nil {
		return err
	}
	if fresh {
		err = f.made(dir, name, r, unix.S_IFREG|mode&0o7777, p)
	} else {
		err = f.found(dir, name, p)
	}
	if err != nil {
		closeFD(fd)
		return err
	}
	p.handle(f.newHandle(fd, false))
	return nil
}

// create opens name, and tells whether it made it.
func create(dir *node, name string, wanted, mode uint32) (fd int, fresh bool, err error) {
	// Not blocking, if it is a pipe that the host has put there meanwhile.
	flags := int(wanted)&openFlags | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	open := func(flags int) error {
		return retry(func() (err error) {
			fd, err = unix.Openat(dir.fd, name, flags, mode&0o7777)
			return err
		})
	}
	for range 8 {
		if err = open(flags | unix.O_EXCL); err == nil {
			return fd, true, nil
		}
		if err != unix.EEXIST || wanted&unix.O_EXCL != 0 {
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

func (f *FS) read(r *request, p *reply) error {
	fh, off, size := r.u64(), int64(r.u64()), r.u32()
	r.take(20)
	if err := r.end(); err != nil {
		return err
	}
	buf := p.room(int(size))
	if buf == nil {
		return unix.EINVAL
	}
	return f.with(fh, func(fd int) error {
		total, err := transfer(buf, func(b []byte, done int64) (int, error) { return unix.Pread(fd, b, off+done) })
		p.grow(total)
		return err
	})
}

func (f *FS) write(r *request, p *reply) error {
	fh, off, size, how := r.u64(), int64(r.u64()), r.u32(), r.u32()
	r.u64() // the owner of a lock
	flags := r.u32()
	r.u32()
	data := r.body
	if r.bad || int(size) != len(data) {
		return unix.EINVAL
	}
	put := func(fd int) func([]byte, int64) (int, error) {
		// What the kernel writes back for a mapping says itself where it belongs.
		if flags&unix.O_APPEND != 0 && how&writeCache == 0 {
			return func(b []byte, _ int64) (int, error) { return unix.Pwritev2(fd, [][]byte{b}, 0, unix.RWF_APPEND) }
		}
		return func(b []byte, done int64) (int, error) { return unix.Pwrite(fd, b, off+done) }
	}
	return f.with(fh, func(fd int) error {
		total, err := transfer(data, put(fd))
		if err == nil && how&writeKillSUIDGID != 0 {
			err = dropPrivileges(fd)
		}
		p.u32(uint32(total), 0)
		return err
	})
}

// transfer calls do until all of b is done, nothing more is, or it fails. An
// error counts only when nothing was done before.
func transfer(b []byte, do func(b []byte, done int64) (int, error)) (total int, err error) {
	for total < len(b) {
		k := 0
		err := retry(func() (err error) {
			k, err = do(b[total:], int64(total))
			return err
		})
		if err != nil && total == 0 {
			return 0, err
		}
		if err != nil || k <= 0 {
			break
		}
		total += k
	}
	return total, nil
}

func (f *FS) fsync(r *request) error {
	fh, flags := r.u64(), r.u32()
	return f.with(fh, func(fd int) error {
		if flags&1 != 0 {
			return retry(func() error { return unix.Fdatasync(fd) })
		}
		return retry(func() error { return unix.Fsync(fd) })
	})
}

func (f *FS) fallocate(r *request) error {
	fh, off, length, mode := r.u64(), int64(r.u64()), int64(r.u64()), r.u32()
	return f.with(fh, func(fd int) error {
		return retry(func() error { return unix.Fallocate(fd, mode, off, length) })
	})
}

// lseek looks for data and holes: nothing else comes here.
func (f *FS) lseek(r *request, p *reply) error {
	fh, off, whence := r.u64(), int64(r.u64()), r.u32()
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return unix.EINVAL
	}
	return f.with(fh, func(fd int) error {
		at, err := unix.Seek(fd, off, int(whence))
		p.u64(uint64(at))
		return err
	})
}

func (f *FS) copyFileRange(r *request, p *reply) error {
	fhIn, offIn := r.u64(), int64(r.u64())
	r.u64() // the node of the other file, which its handle says too
	fhOut, offOut, length := r.u64(), int64(r.u64()), r.u64()
	return f.with(fhIn, func(from int) error {
		return f.with(fhOut, func(to int) error {
			k, err := unix.CopyFileRange(from, &offIn, to, &offOut, int(min(length, 1<<30)), 0)
			p.u32(uint32(max(k, 0)), 0)
			return err
		})
	})
}
