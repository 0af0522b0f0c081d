package fs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Of linux/limits.h.
const (
	maxXattrList = 64 << 10
	maxXattrSize = 64 << 10
)

// guestAttr tells whether an extended attribute is the guest's to see and set.
// Others mean something to the host's kernel: capabilities of a program, labels,
// access lists with the host's IDs.
func guestAttr(name string) bool { return strings.HasPrefix(name, "user.") && len(name) <= 255 }

func (f *FS) getXattr(r *request, p *reply) error {
	size := r.u32()
	r.u32()
	name := r.text()
	if !guestAttr(name) {
		return unix.ENODATA
	}
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	if size == 0 {
		k, err := unix.Getxattr(own(n.fd), name, nil)
		p.u32(uint32(max(k, 0)), 0)
		return err
	}
	k, err := unix.Getxattr(own(n.fd), name, p.room(int(min(size, maxXattrSize))))
	if err == nil {
		p.grow(k)
	}
	return err
}

func (f *FS) listXattr(r *request, p *reply) error {
	size := r.u32()
	r.u32()
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	all := make([]byte, maxXattrList)
	k, err := unix.Listxattr(own(n.fd), all)
	if err != nil {
		return err
	}
	var list []byte
	for name := range strings.SplitSeq(string(all[:k]), "\x00") {
		if guestAttr(name) {
			list = append(append(list, name...), 0)
		}
	}
	switch {
	case size == 0:
		p.u32(uint32(len(list)), 0)
	case len(list) > int(size):
		return unix.ERANGE
	default:
		p.bytes(list)
	}
	return nil
}

func (f *FS) setXattr(r *request) error {
	size, flags := r.u32(), r.u32()
	name := r.text()
	if !guestAttr(name) {
		return unix.EOPNOTSUPP
	}
	if size > maxXattrSize {
		return unix.E2BIG
	}
	value := r.take(int(size))
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	return unix.Setxattr(own(n.fd), name, value, int(flags)&(unix.XATTR_CREATE|unix.XATTR_REPLACE))
}

func (f *FS) removeXattr(r *request) error {
	name := r.text()
	if !guestAttr(name) {
		return unix.ENODATA
	}
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	return unix.Removexattr(own(n.fd), name)
}
