package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// A recipe is what the archive holds besides the data of its files: headers,
// padding, order, what follows its end. With it WriteTar makes the archive
// again, byte for byte. Files are named by their inodes, as names do not last:
// an entry may be replaced by a later one, and stays in the file system.
//
// It is a stream compressed with zstd, of records that are each
//
//	uvarint         bytes that follow: what the archive has next
//	...
//	uvarint         the size of the file that comes then; 0 is none
//	varint          its inode's number, less the one before; when there is one
//
// The stream lies in pieces among the data. Which blocks they begin at is said
// by a table at the end, and where that is by struct recipeHeader in the first
// bytes of block 0, which are no part of a file system.
type recipe struct {
	out     *output
	pack    *zstd.Encoder
	packed  bytes.Buffer // compressed, without a place yet
	literal []byte
	last    uint64   // inode
	pieces  []uint32 // the blocks where they begin
	size    int64    // compressed
	scratch []byte
	err     error
}

const (
	pieceSize     = 64 << 10
	recipeMagic   = "abodetar"
	recipeVersion = 1
	recipeHeader  = 8 + 8 + 8 + 8 + 8 // magic, version, sizes of archive and stream, place of the table
	recipeWindow  = 512 << 10
)

func newRecipe(o *output) (*recipe, error) {
	r := &recipe{out: o, literal: make([]byte, 0, pieceSize)}
	var err error
	r.pack, err = zstd.NewWriter(&r.packed, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(recipeWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	return r, err
}

// add appends what the archive has next.
func (r *recipe) add(p []byte) {
	for len(p) > 0 {
		n := min(len(p), cap(r.literal)-len(r.literal))
		r.literal = append(r.literal, p[:n]...)
		p = p[n:]
		if len(r.literal) == cap(r.literal) {
			r.record(0, 0)
		}
	}
}

// record ends a record; a size other than 0 says that a file's data is next.
func (r *recipe) record(nid uint64, size int64) {
	p := binary.AppendUvarint(r.scratch[:0], uint64(len(r.literal)))
	p = append(p, r.literal...)
	p = binary.AppendUvarint(p, uint64(size))
	if size > 0 {
		p = binary.AppendVarint(p, int64(nid)-int64(r.last))
		r.last = nid
	}
	if _, err := r.pack.Write(p); err != nil && r.err == nil {
		r.err = err
	}
	r.literal, r.scratch = r.literal[:0], p
}

// settle writes the pieces that are full. They take blocks, so it must not be
// called between blocks of a file that are to be consecutive.
func (r *recipe) settle() error {
	for r.packed.Len() >= pieceSize {
		if r.err == nil {
			r.err = r.piece(pieceSize)
		}
		if r.err != nil {
			return r.err
		}
	}
	return r.err
}

func (r *recipe) piece(n int) error {
	p, err := r.out.next(n)
	if err != nil {
		return err
	}
	copy(p, r.packed.Next(n))
	block, err := r.out.commit(n)
	r.pieces = append(r.pieces, block)
	r.size += int64(n)
	return err
}

// finish writes all that is left, and into block 0 where to find it. size is
// the archive's.
func (r *recipe) finish(block []byte, size int64) error {
	r.record(0, 0)
	if err := r.pack.Close(); err != nil {
		return fmt.Errorf("cannot compress: %w", err)
	}
	if err := r.settle(); err != nil {
		return err
	}
	if n := r.packed.Len(); n > 0 {
		if err := r.piece(n); err != nil {
			return err
		}
	}
	at, err := r.out.alloc(int64(4 * len(r.pieces)))
	if err != nil {
		return err
	}
	var table []byte
	for _, b := range r.pieces {
		table = binary.LittleEndian.AppendUint32(table, b)
	}
	if err := r.out.writeAt(table, at); err != nil {
		return err
	}
	le := binary.LittleEndian
	copy(block, recipeMagic)
	le.PutUint64(block[8:], recipeVersion)
	le.PutUint64(block[16:], uint64(size))
	le.PutUint64(block[24:], uint64(r.size))
	le.PutUint64(block[32:], uint64(at))
	return nil
}
