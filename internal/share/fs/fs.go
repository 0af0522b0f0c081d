package fs

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Options of a file system.
type Options struct {
	// Self is a descriptor of this process's /proc/self/fd: the one way to open
	// a file for reading or writing that is known by an O_PATH descriptor.
	Self int
	// MaxOpen bounds how many files are kept open only because the guest knows them.
	MaxOpen int
}

// FS is a share, as one mount of the guest sees it.
type FS struct {
	self  int
	dev   uint64
	nodes *nodes

	mu      sync.Mutex
	handles map[uint64]*handle
	next    uint64
}

// New serves the file or directory that root, a descriptor opened with O_PATH,
// refers to. It owns root then.
func New(root int, o Options) (*FS, error) {
	st, err := stat(root)
	if err != nil {
		closeFD(root)
		return nil, fmt.Errorf("cannot read the share's root: %w", err)
	}
	k := keyOf(&st)
	return &FS{
		self:    o.Self,
		dev:     k.dev,
		nodes:   newNodes(root, k, max(o.MaxOpen, 16)),
		handles: map[uint64]*handle{},
		next:    1,
	}, nil
}

// Close closes everything that the guest had open. No request may be under way.
func (f *FS) Close() {
	f.mu.Lock()
	for fh, h := range f.handles {
		delete(f.handles, fh)
		h.gone = true
		h.settle()
	}
	f.mu.Unlock()
	f.nodes.closeAll()
}

// EnterSelf makes Self the working directory of the whole process, which the
// calls on extended attributes need: they take no descriptor of a directory.
func EnterSelf(self int) error { return unix.Fchdir(self) }

// own is the path below Self that leads to the very file of a descriptor,
// whatever its type.
func own(fd int) string { return strconv.Itoa(fd) }

// validName tells whether a name is one component of a path.
func validName(name string) error {
	if len(name) > unix.NAME_MAX {
		return unix.ENAMETOOLONG
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

// dir pins a node for a request that names something in it. The request must
// have been read to its end.
func (f *FS) dir(r *request, id uint64, name string) (*node, error) {
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := validName(name); err != nil {
		return nil, err
	}
	return f.nodes.pin(id)
}

// node pins the node of a request that was read to its end.
func (f *FS) node(r *request) (*node, error) {
	if err := r.end(); err != nil {
		return nil, err
	}
	return f.nodes.pin(r.node)
}

// open opens the file of an O_PATH descriptor again, with other flags. Only
// regular files may be opened: others have effects by being opened, or block.
func (f *FS) open(n *node, flags int) (fd int, err error) {
	st, err := stat(n.fd)
	if err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, unix.ENXIO
	}
	err = retry(func() error {
		fd, err = unix.Openat(f.self, own(n.fd), flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// found answers a request with the file that is name below dir.
func (f *FS) found(dir *node, name string, p *reply) error {
	fd, err := openPath(dir.fd, name)
	if err != nil {
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

func (f *FS) lookup(r *request, p *reply) error {
	name := r.text()
	dir, err := f.dir(r, r.node, name)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(dir)
	return f.found(dir, name, p)
}

func (f *FS) readlink(r *request, p *reply) error {
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	buf := p.room(unix.PathMax)
	k, err := unix.Readlinkat(n.fd, "", buf)
	if err != nil {
		return err
	}
	p.grow(k)
	return nil
}

func (f *FS) statfs(r *request, p *reply) error {
	n, err := f.node(r)
	if err != nil {
		return err
	}
	defer f.nodes.unpin(n)
	var st unix.Statfs_t
	if err := unix.Fstatfs(n.fd, &st); err != nil {
		return err
	}
	p.u64(st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree)
	p.u32(uint32(st.Bsize), uint32(st.Namelen), uint32(st.Frsize), 0)
	p.bytes(make([]byte, 24))
	return nil
}
