package erofs

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Sizes and numbers of fs/erofs/erofs_fs.h (Linux 6.1). All of it is
// little-endian.
const (
	blockBits = 12
	blockSize = 1 << blockBits // also EROFS_BLKSIZ of kernels before 6.3

	superOffset = 1024       // EROFS_SUPER_OFFSET
	superSize   = 128        // sizeof(struct erofs_super_block)
	superMagic  = 0xE0F5E1E2 // EROFS_SUPER_MAGIC_V1

	featureChecksum = 0x1 // EROFS_FEATURE_COMPAT_SB_CHKSUM
	featureMtime    = 0x2 // EROFS_FEATURE_COMPAT_MTIME: i_mtime is an mtime
	featurePadding  = 0x1 // EROFS_FEATURE_INCOMPAT_ZERO_PADDING
	featureConfigs  = 0x2 // EROFS_FEATURE_INCOMPAT_COMPR_CFGS and _BIG_PCLUSTER, Linux 5.13
	featureChunked  = 0x4 // EROFS_FEATURE_INCOMPAT_CHUNKED_FILE, Linux 5.15

	slotSize   = 32 // EROFS_ISLOTBITS: inode numbers count these
	inodeSize  = 64 // sizeof(struct erofs_inode_extended)
	direntSize = 12 // sizeof(struct erofs_dirent)
	maxName    = 255

	layoutPlain      = 0 // EROFS_INODE_FLAT_PLAIN: whole blocks from i_u
	layoutCompressed = 1 // EROFS_INODE_COMPRESSED_FULL: an index behind the inode
	layoutInline     = 2 // EROFS_INODE_FLAT_INLINE: and the rest behind the inode
	layoutChunks     = 4 // EROFS_INODE_CHUNK_BASED: block numbers behind the inode

	noBlock = 0xFFFFFFFF // EROFS_NULL_ADDR: a hole, or no block at all
)

// File types of directory entries (FT_* of linux/fs_types.h).
const (
	typeRegular = 1 + iota
	typeDirectory
	typeChar
	typeBlock
	typeFifo
	_ // a socket, which tar does not know
	typeSymlink
)

// The S_IFMT bits of i_mode for a file type.
var modeBits = [...]uint16{
	typeRegular: 0o100000, typeDirectory: 0o040000, typeChar: 0o020000,
	typeBlock: 0o060000, typeFifo: 0o010000, typeSymlink: 0o120000,
}

// An inode is what struct erofs_inode_extended holds.
type inode struct {
	kind     uint8 // typeRegular, ...
	perm     uint16
	uid, gid uint32
	mtime    time.Time
	size     int64
	nlink    uint32
	layout   uint16
	union    uint32 // i_u: first block, device number, chunk format or blocks
	number   uint32 // i_ino, shown by stat where 64 bits do not fit
	xattrs   []byte // what encodeXattrs returned
}

// i_nlink's place in the inode, for those that get another link later.
const nlinkOffset = 44

// append adds the inode and its xattrs to p.
func (n *inode) append(p []byte) []byte {
	le := binary.LittleEndian
	p = le.AppendUint16(p, 1|n.layout<<1) // i_format: bit 0 says extended
	p = le.AppendUint16(p, xattrCount(n.xattrs))
	p = le.AppendUint16(p, modeBits[n.kind]|n.perm)
	p = le.AppendUint16(p, 0)
	p = le.AppendUint64(p, uint64(n.size))
	p = le.AppendUint32(p, n.union)
	p = le.AppendUint32(p, n.number)
	p = le.AppendUint32(p, n.uid)
	p = le.AppendUint32(p, n.gid)
	p = le.AppendUint64(p, uint64(n.mtime.Unix()))
	p = le.AppendUint32(p, uint32(n.mtime.Nanosecond()))
	p = le.AppendUint32(p, n.nlink)
	p = append(p, make([]byte, 16)...)
	return append(p, n.xattrs...)
}

// A superblock is what struct erofs_super_block holds and is not constant.
type superblock struct {
	root   uint16 // nid
	inodes uint64
	blocks uint32
	uuid   [16]byte
	chunks bool // some inode has layoutChunks
	packed bool // some inode has layoutCompressed
}

// configSize is what stands behind the superblock when files are compressed:
// its length in 16 bits and a struct z_erofs_lz4_cfgs.
const configSize = 2 + 14

// put writes the superblock into block 0, whose other bytes must be final:
// the checksum covers them.
func (s *superblock) put(block []byte) {
	p := block[superOffset:]
	le := binary.LittleEndian
	clear(p[:superSize])
	le.PutUint32(p[0:], superMagic)
	le.PutUint32(p[8:], featureChecksum|featureMtime)
	p[12] = blockBits
	le.PutUint16(p[14:], s.root)
	le.PutUint64(p[16:], s.inodes)
	// build_time stays 0: only compact inodes take their time from it.
	le.PutUint32(p[36:], s.blocks)
	// meta_blkaddr and xattr_blkaddr stay 0: nids count from byte 0 of the
	// file, and there are no shared xattrs.
	copy(p[48:], s.uuid[:])
	features := uint32(0)
	if s.chunks {
		features |= featureChunked
	}
	if s.packed {
		features |= featurePadding | featureConfigs
		le.PutUint16(p[84:], 1) // available_compr_algs: LZ4
		config := p[superSize:]
		le.PutUint16(config, configSize-2)
		le.PutUint16(config[2:], extentSize-1) // max_distance
		le.PutUint16(config[4:], extentBlocks) // max_pclusterblks
	}
	le.PutUint32(p[80:], features)
	// The kernel's crc32c starts with ~0 and does not invert its result.
	le.PutUint32(p[4:], ^crc32.Checksum(block[superOffset:blockSize], castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendDirent adds a struct erofs_dirent to p.
func appendDirent(p []byte, nid uint64, nameOffset int, kind uint8) []byte {
	p = binary.LittleEndian.AppendUint64(p, nid)
	p = binary.LittleEndian.AppendUint16(p, uint16(nameOffset))
	return append(p, kind, 0)
}

// device is new_encode_dev of linux/kdev_t.h; false when the kernel's 12 and
// 20 bits cannot hold the numbers.
func device(major, minor int64) (uint32, bool) {
	if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 {
		return 0, false
	}
	return uint32(minor&0xff | major<<8 | minor&^0xff<<12), true
}

// roundUp rounds n up to a multiple of unit, a power of two.
func roundUp[T int | int64](n, unit T) T { return (n + unit - 1) &^ (unit - 1) }
