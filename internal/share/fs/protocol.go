package fs

import (
	"bytes"
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// The FUSE protocol as include/uapi/linux/fuse.h of Linux has it. Messages are
// read field by field: a request that is too short, or too long, is EINVAL.

const (
	major = 7
	minor = 31 // the most that is used here; Linux 5.4 speaks it

	inHeaderLen  = 40 // struct fuse_in_header
	outHeaderLen = 16 // struct fuse_out_header
)

// Operations, in the kernel's numbering.
const (
	opLookup        = 1
	opForget        = 2
	opGetattr       = 3
	opSetattr       = 4
	opReadlink      = 5
	opSymlink       = 6
	opMknod         = 8
	opMkdir         = 9
	opUnlink        = 10
	opRmdir         = 11
	opRename        = 12
	opLink          = 13
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opStatfs        = 17
	opRelease       = 18
	opFsync         = 20
	opSetxattr      = 21
	opGetxattr      = 22
	opListxattr     = 23
	opRemovexattr   = 24
	opInit          = 26
	opOpendir       = 27
	opReaddir       = 28
	opReleasedir    = 29
	opFsyncdir      = 30
	opCreate        = 35
	opDestroy       = 38
	opBatchForget   = 42
	opFallocate     = 43
	opRename2       = 45
	opLseek         = 46
	opCopyFileRange = 47
)

// Flags of INIT that are asked for. The guest tells when a write takes
// set-user-ID away (HANDLE_KILLPRIV_V2), instead of asking for a file's
// capabilities before each.
const (
	initAsyncRead      = 1 << 0
	initAtomicTrunc    = 1 << 3
	initBigWrites      = 1 << 5
	initAutoInvalData  = 1 << 12
	initParallelDirOps = 1 << 18
	initMaxPages       = 1 << 22
	initKillPrivV2     = 1 << 28

	initWanted = initAsyncRead | initAtomicTrunc | initBigWrites | initAutoInvalData | initParallelDirOps | initMaxPages | initKillPrivV2
)

// Flags of SETATTR's valid, of OPEN and of WRITE.
const (
	setMode        = 1 << 0
	setUID         = 1 << 1
	setGID         = 1 << 2
	setSize        = 1 << 3
	setAtime       = 1 << 4
	setMtime       = 1 << 5
	setHandle      = 1 << 6
	setAtimeNow    = 1 << 7
	setMtimeNow    = 1 << 8
	setKillSUIDGID = 1 << 11

	openKillSUIDGID  = 1 << 0
	writeCache       = 1 << 0
	writeKillSUIDGID = 1 << 2
)

// A request is one that was read as far as its header.
type request struct {
	op       uint32
	unique   uint64
	node     uint64
	uid, gid uint32

	body []byte // what is not read yet
	bad  bool   // something was missing
}

// parse reads the header of a message, which says how long it is.
func parse(msg []byte) (r request, ok bool) {
	if len(msg) < inHeaderLen || binary.NativeEndian.Uint32(msg) != uint32(len(msg)) {
		return r, false
	}
	r = request{body: msg[4:]}
	r.op, r.unique, r.node, r.uid, r.gid = r.u32(), r.u64(), r.u64(), r.u32(), r.u32()
	r.u32()                // the process, in the guest's numbering
	return r, r.u32() == 0 // extensions were not agreed upon
}

func (r *request) take(n int) []byte {
	if n > len(r.body) {
		r.bad, r.body = true, nil
		return make([]byte, n)
	}
	b := r.body[:n]
	r.body = r.body[n:]
	return b
}

func (r *request) u32() uint32 {
	if len(r.body) < 4 {
		r.bad, r.body = true, nil
		return 0
	}
	v := binary.NativeEndian.Uint32(r.body)
	r.body = r.body[4:]
	return v
}

func (r *request) u64() uint64 {
	if len(r.body) < 8 {
		r.bad, r.body = true, nil
		return 0
	}
	v := binary.NativeEndian.Uint64(r.body)
	r.body = r.body[8:]
	return v
}

// text reads a string up to its zero byte.
func (r *request) text() string {
	i := bytes.IndexByte(r.body, 0)
	if i < 0 {
		r.bad, r.body = true, nil
		return ""
	}
	s := string(r.body[:i])
	r.body = r.body[i+1:]
	return s
}

// end tells whether the request was read whole and nothing is left of it.
func (r *request) end() error {
	if r.bad || len(r.body) > 0 {
		return unix.EINVAL
	}
	return nil
}

// A reply is built in a buffer of the caller's, after the room for its header.
type reply struct {
	buf []byte // header and contents
}

func newReply(out []byte) *reply { return &reply{buf: out[:outHeaderLen]} }

func (p *reply) u32(v ...uint32) {
	for _, x := range v {
		p.buf = binary.NativeEndian.AppendUint32(p.buf, x)
	}
}

func (p *reply) u64(v ...uint64) {
	for _, x := range v {
		p.buf = binary.NativeEndian.AppendUint64(p.buf, x)
	}
}

func (p *reply) bytes(b []byte) { p.buf = append(p.buf, b...) }

// room returns n bytes of the buffer to be filled in by the caller, who then
// calls grow; or nil when the buffer has fewer.
func (p *reply) room(n int) []byte {
	if n < 0 || n > cap(p.buf)-len(p.buf) {
		return nil
	}
	return p.buf[len(p.buf) : len(p.buf)+n]
}

func (p *reply) grow(n int) { p.buf = p.buf[:len(p.buf)+n] }

// finish writes the header and returns the message's length. An error has no contents.
func (p *reply) finish(unique uint64, err error) int {
	errno := errnoOf(err)
	if errno != 0 {
		p.buf = p.buf[:outHeaderLen]
	}
	binary.NativeEndian.PutUint32(p.buf, uint32(len(p.buf)))
	binary.NativeEndian.PutUint32(p.buf[4:], uint32(-int32(errno)))
	binary.NativeEndian.PutUint64(p.buf[8:], unique)
	return len(p.buf)
}

// attr appends struct fuse_attr. The share has one device in the guest, so
// that the numbers of inodes from other file systems below it are told apart.
func (p *reply) attr(st *unix.Statx_t, share uint64) {
	ino := st.Ino
	if dev := unix.Mkdev(st.Dev_major, st.Dev_minor); dev != share {
		ino ^= (dev*0x9e3779b97f4a7c15)&^0xffffffff | 1<<63
	}
	p.u64(ino, st.Size, st.Blocks, uint64(st.Atime.Sec), uint64(st.Mtime.Sec), uint64(st.Ctime.Sec))
	p.u32(st.Atime.Nsec, st.Mtime.Nsec, st.Ctime.Nsec, uint32(st.Mode), st.Nlink, st.Uid, st.Gid,
		uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor)), st.Blksize, 0)
}

// attrValid is how long attributes are valid, in nanoseconds: the guest's
// kernel makes it the end of its next clock tick. So what comes with a name
// serves the check of permissions and the stat(2) that follow, which would
// each ask again. Names are valid for no time at all: whoever comes by a path
// sees what is there now. An open file's attributes may be a tick old.
const attrValid = 1

// entry appends struct fuse_entry_out.
func (p *reply) entry(n *node, st *unix.Statx_t, share uint64) {
	p.u64(n.id, 1, 0, 0)
	p.u32(0, attrValid)
	p.attr(st, share)
}

// handle appends struct fuse_open_out.
func (p *reply) handle(fh uint64) {
	p.u64(fh)
	p.u32(0, 0)
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return unix.EIO
}
