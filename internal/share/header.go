package share

import (
	"encoding/binary"
	"syscall"
)

// Sizes of struct fuse_in_header and fuse_out_header, and the operations that
// are treated apart (include/uapi/linux/fuse.h).
const (
	inHeaderLen  = 40
	outHeaderLen = 16

	opForget      = 2
	opInit        = 26
	opInterrupt   = 36
	opBatchForget = 42
)

// operations are those that are served; of the others the kernel learns with
// ENOSYS that it has to do without.
var operations = [64]bool{
	1: true, opForget: true, 3: true, 4: true, 5: true, 6: true, 8: true, 9: true, // lookup to mkdir
	10: true, 11: true, 12: true, 13: true, 14: true, 15: true, 16: true, 17: true, 18: true, // unlink to release
	20: true, 21: true, 22: true, 23: true, 24: true, // fsync, extended attributes
	opInit: true, 27: true, 28: true, 29: true, 30: true, // directories
	35: true, opInterrupt: true, 38: true, opBatchForget: true, // create, destroy
	43: true, 45: true, 46: true, 47: true, // fallocate, rename2, lseek, copy_file_range
}

func allowed(op uint32) bool { return op < uint32(len(operations)) && operations[op] }

// header is the part of a request's header that is looked at here.
type header struct {
	opcode uint32
	unique uint64
	node   uint64
}

// reservedNode is one that the library keeps for itself.
const reservedNode = ^uint64(0)

// parseHeader reads it; a request says how long it is, and must be that long.
func parseHeader(msg []byte) (header, bool) {
	if len(msg) < inHeaderLen || binary.NativeEndian.Uint32(msg) != uint32(len(msg)) {
		return header{}, false
	}
	return header{opcode: binary.NativeEndian.Uint32(msg[4:]), unique: binary.NativeEndian.Uint64(msg[8:]), node: binary.NativeEndian.Uint64(msg[16:])}, true
}

// fail writes an answer that is an error alone and returns its length, which
// is 0 for requests that are not answered.
func (h header) fail(out []byte, errno syscall.Errno) int {
	if h.opcode == opForget || h.opcode == opBatchForget {
		return 0
	}
	binary.NativeEndian.PutUint32(out, outHeaderLen)
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(errno)))
	binary.NativeEndian.PutUint64(out[8:], h.unique)
	return outHeaderLen
}
