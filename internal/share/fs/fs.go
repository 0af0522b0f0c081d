package fs

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
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

// FS is a share. It implements fuse.RawFileSystem; requests may come at once.
type FS struct {
	fuse.RawFileSystem // answers ENOSYS to what is not implemented here

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
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		self:          o.Self,
		dev:           k.dev,
		nodes:         newNodes(root, k, max(o.MaxOpen, 16)),
		handles:       map[uint64]*handle{},
		next:          1,
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

// validName tells whether a name is one component of a path.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= unix.NAME_MAX && !strings.ContainsAny(name, "/\x00")
}

// link is the path below Self that leads to the very file of a descriptor,
// whatever its type.
func link(fd int) string { return strconv.Itoa(fd) }

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
		fd, err = unix.Openat(f.self, link(n.fd), flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// dir pins a node for a request that names something in it.
func (f *FS) dir(id uint64, name string) (*node, error) {
	if len(name) > unix.NAME_MAX {
		return nil, unix.ENAMETOOLONG
	}
	if !validName(name) {
		return nil, unix.EINVAL
	}
	return f.nodes.pin(id)
}

// found answers a request with the file that is name below dir.
func (f *FS) found(dir *node, name string, out *fuse.EntryOut) fuse.Status {
	fd, err := openPath(dir.fd, name)
	if err != nil {
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

// entry fills in a reply that gives the guest a reference. Its times of
// validity stay zero.
func (f *FS) entry(n *node, st *unix.Statx_t, out *fuse.EntryOut) {
	*out = fuse.EntryOut{NodeId: n.id, Generation: 1}
	f.attr(st, &out.Attr)
}

// String implements fuse.RawFileSystem.
func (f *FS) String() string { return "abode" }

// Lookup implements fuse.RawFileSystem.
func (f *FS) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := f.dir(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(dir)
	return f.found(dir, name, out)
}

// Forget implements fuse.RawFileSystem.
func (f *FS) Forget(id, count uint64) { f.nodes.forget(id, count) }

// Readlink implements fuse.RawFileSystem.
func (f *FS) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, err := f.nodes.pin(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	defer f.nodes.unpin(n)
	buf := make([]byte, unix.PathMax)
	k, err := unix.Readlinkat(n.fd, "", buf)
	if err != nil {
		return nil, status(err)
	}
	return buf[:k], fuse.OK
}

// StatFs implements fuse.RawFileSystem.
func (f *FS) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	id := in.NodeId
	if id == 0 {
		id = rootID
	}
	n, err := f.nodes.pin(id)
	if err != nil {
		return status(err)
	}
	defer f.nodes.unpin(n)
	var st unix.Statfs_t
	if err := unix.Fstatfs(n.fd, &st); err != nil {
		return status(err)
	}
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), NameLen: uint32(st.Namelen), Frsize: uint32(st.Frsize),
	}
	return fuse.OK
}

// xattrPath is the path, below the working directory, that is the process's
// Self, for the calls on extended attributes, which take no descriptor of a
// directory; see EnterSelf.
func xattrPath(n *node) string { return path.Join(".", link(n.fd)) }

// EnterSelf makes Self the working directory of the whole process, as the
// calls on extended attributes need it.
func EnterSelf(self int) error { return unix.Fchdir(self) }
