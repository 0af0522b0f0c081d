package erofs

import (
	"encoding/binary"
	"io"

	"github.com/pierrec/lz4/v4"
)

// A compressed file is a row of extents of extentSize bytes, the last one
// shorter. Each is compressed by itself with LZ4, so that a read in the middle
// costs one extent at most, or stands as it is when that saves too little. A
// compressed extent fills whole blocks (a "physical cluster"), at their end:
// zeros stand before it ("0padding").
//
// Which block holds which bytes is said by an index behind the inode, 8 bytes
// for each block of the file (struct z_erofs_lcluster_index).
const (
	extentSize    = 64 << 10
	extentBlocks  = extentSize / blockSize
	minCompressed = 16 << 10 // smaller files are read at once and win little
	maxCompressed = 1 << 30  // the index of larger ones would take too much memory
	lookahead     = 1 << 20  // of a file's start: with a hole there it gets chunks
)

// Types of an index's entry, in its di_advise.
const (
	indexPlain    = 0 // Z_EROFS_LCLUSTER_TYPE_PLAIN: a block as it is
	indexHead     = 1 // Z_EROFS_LCLUSTER_TYPE_HEAD1: an extent begins
	indexNonhead  = 2 // Z_EROFS_LCLUSTER_TYPE_NONHEAD: it goes on
	indexCount    = 1 << 11
	indexSize     = 8
	indexHeader   = 16 // struct z_erofs_map_header and 8 bytes of nothing
	adviseBig     = 2  // Z_EROFS_ADVISE_BIG_PCLUSTER_1
	worthOfEighth = 7  // compressed extents take at most 7/8 of their blocks
)

// A compressor holds what is needed for the file that is read.
type compressor struct {
	lz4    lz4.Compressor
	raw    []byte // an extent as it was read
	packed []byte // and compressed
	index  []byte
	blocks uint32 // of the file's data
}

func newCompressor() *compressor {
	return &compressor{raw: make([]byte, extentSize), packed: make([]byte, extentSize)}
}

// compressible tells whether a file of that size is tried.
func (w *writer) compressible(size int64) bool {
	return w.comp != nil && size >= minCompressed && size <= maxCompressed
}

// compressed writes a file's data in extents as it arrives, and its inode.
func (w *writer) compressed(n *inode, data io.Reader, size int64) (*node, error) {
	c := w.comp
	c.index, c.blocks = c.index[:0], 0
	first, any := uint32(noBlock), false
	for left := size; left > 0; {
		raw := c.raw[:min(left, extentSize)]
		if err := w.read(data, raw); err != nil {
			return nil, err
		}
		left -= int64(len(raw))
		block, packed, err := w.extent(raw)
		if err != nil {
			return nil, err
		}
		if first == noBlock {
			first = block
		}
		any = any || packed > 0
		c.add(len(raw), block, packed)
	}
	if !any { // all of it lies as it is, in consecutive blocks
		return w.flat(n, first, size)
	}
	w.packed = true
	n.layout, n.union = layoutCompressed, c.blocks
	behind := make([]byte, roundUp(len(n.xattrs), 8)-len(n.xattrs)+indexHeader, len(c.index)+32)
	header := behind[len(behind)-indexHeader:]
	binary.LittleEndian.PutUint16(header[4:], adviseBig)
	// h_algorithmtype 0 is LZ4, h_clusterbits 0 says that an entry of the index
	// stands for blockSize bytes.
	return w.put(n, append(behind, c.index...))
}

// extent writes one extent. It returns the first of its blocks, and how many
// it takes when it was compressed, else 0.
func (w *writer) extent(raw []byte) (block uint32, packed int, err error) {
	whole := roundUp(len(raw), blockSize) / blockSize
	limit := whole * worthOfEighth / 8
	src, size := raw, 0
	if limit > 0 {
		// An error says that it does not fit.
		if size, err = w.comp.lz4.CompressBlock(raw, w.comp.packed[:limit*blockSize]); err == nil && size > 0 {
			packed = roundUp(size, blockSize) / blockSize
			src, whole = w.comp.packed[:size], packed
		}
	}
	p, err := w.out.next(whole * blockSize)
	if err != nil {
		return 0, 0, err
	}
	if packed > 0 {
		copy(p[len(p)-size:], src)
	} else {
		copy(p, src)
	}
	block, err = w.out.commit(whole * blockSize)
	w.comp.blocks += uint32(whole)
	return block, packed, err
}

// add puts an extent of n bytes into the index.
func (c *compressor) add(n int, block uint32, packed int) {
	le := binary.LittleEndian
	entry := func(kind, offset uint16, value uint32) {
		c.index = le.AppendUint16(c.index, kind)
		c.index = le.AppendUint16(c.index, offset)
		c.index = le.AppendUint32(c.index, value)
	}
	count := roundUp(n, blockSize) / blockSize
	if packed == 0 {
		for i := range count {
			entry(indexPlain, 0, block+uint32(i))
		}
		return
	}
	entry(indexHead, 0, block)
	for i := 1; i < count; i++ {
		if rest := n % blockSize; i == count-1 && rest > 0 {
			// The file's end, as if another extent began there: or the kernel
			// would want a whole block of it.
			entry(indexPlain, uint16(rest), 0)
			return
		}
		back := uint32(i)
		if i == 1 {
			back = indexCount | uint32(packed)
		}
		entry(indexNonhead, 0, back|uint32(count-i)<<16)
	}
}
