package fs

import (
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/wire"
)

// maxBackground is how many requests the guest's kernel may send ahead.
const maxBackground = 32

// IsInit tells whether a message is the one that begins a mount; IsForget
// whether it has no answer and takes no time.
func IsInit(msg []byte) bool { r, ok := parse(msg); return ok && r.op == opInit }

// IsForget is explained with IsInit.
func IsForget(msg []byte) bool {
	r, ok := parse(msg)
	return ok && (r.op == opForget || r.op == opBatchForget)
}

// Handle carries out one request and writes its answer to out, which has room
// for wire.MaxFrame bytes. It returns the answer's length, 0 for requests that
// have none. ok is false when the message is no request at all. Requests may
// be handled at once.
func (f *FS) Handle(msg, out []byte) (n int, ok bool) {
	r, ok := parse(msg)
	if !ok {
		return 0, false
	}
	if r.op == opForget || r.op == opBatchForget {
		f.forget(&r)
		return 0, true
	}
	p := newReply(out)
	err := f.dispatch(&r, p)
	return p.finish(r.unique, err), true
}

// dispatch knows the operations that are served; of the others the guest's
// kernel learns with ENOSYS that it has to do without. Among those are FLUSH,
// ACCESS and locks, which it then does itself, and INTERRUPT.
func (f *FS) dispatch(r *request, p *reply) error {
	switch r.op {
	case opInit:
		return f.init(r, p)
	case opDestroy:
		return nil
	case opLookup:
		return f.lookup(r, p)
	case opGetattr:
		return f.getAttr(r, p)
	case opSetattr:
		return f.setAttr(r, p)
	case opReadlink:
		return f.readlink(r, p)
	case opSymlink:
		return f.symlink(r, p)
	case opMknod:
		return f.mknod(r, p)
	case opMkdir:
		return f.mkdir(r, p)
	case opUnlink:
		return f.remove(r, 0)
	case opRmdir:
		return f.remove(r, unix.AT_REMOVEDIR)
	case opRename, opRename2:
		return f.rename(r)
	case opLink:
		return f.link(r, p)
	case opOpen:
		return f.openFile(r, p)
	case opCreate:
		return f.createFile(r, p)
	case opRead:
		return f.read(r, p)
	case opWrite:
		return f.write(r, p)
	case opStatfs:
		return f.statfs(r, p)
	case opRelease, opReleasedir:
		f.release(r.u64())
		return nil
	case opFsync, opFsyncdir:
		return f.fsync(r)
	case opSetxattr:
		return f.setXattr(r)
	case opGetxattr:
		return f.getXattr(r, p)
	case opListxattr:
		return f.listXattr(r, p)
	case opRemovexattr:
		return f.removeXattr(r)
	case opOpendir:
		return f.openDir(r, p)
	case opReaddir:
		return f.readDir(r, p)
	case opFallocate:
		return f.fallocate(r)
	case opLseek:
		return f.lseek(r, p)
	case opCopyFileRange:
		return f.copyFileRange(r, p)
	}
	return unix.ENOSYS
}

func (f *FS) init(r *request, p *reply) error {
	theirMajor, theirMinor, readahead, flags := r.u32(), r.u32(), r.u32(), r.u32()
	if r.bad || theirMajor < major || theirMajor == major && theirMinor < minor {
		return unix.EPROTO
	}
	p.u32(major, minor)
	if theirMajor > major { // it asks again with what both know
		p.bytes(make([]byte, 56))
		return nil
	}
	p.u32(readahead, flags&initWanted)
	p.u32(maxBackground | maxBackground*3/4<<16) // and the threshold of congestion
	p.u32(wire.MaxWrite, 1)                      // times are in nanoseconds
	p.u32(uint32(wire.MaxWrite / unix.Getpagesize()))
	p.bytes(make([]byte, 32))
	return nil
}

func (f *FS) forget(r *request) {
	if r.op == opForget {
		if count := r.u64(); r.end() == nil {
			f.nodes.forget(r.node, count)
		}
		return
	}
	count := r.u32()
	r.u32()
	for ; count > 0 && len(r.body) >= 16; count-- {
		f.nodes.forget(r.u64(), r.u64())
	}
}
