package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

// ErrDamaged says that a file system is not one that this package wrote.
var ErrDamaged = errors.New("the file system is damaged")

// A volume reads the data of regular files out of a file system that FromTar
// wrote. Nothing that it reads is trusted.
type volume struct {
	r      io.ReaderAt
	block  []byte // an inode and what stands behind it
	raw    []byte
	packed []byte
}

func newVolume(r io.ReaderAt) *volume {
	return &volume{r: r, block: make([]byte, blockSize), raw: make([]byte, extentSize), packed: make([]byte, extentSize)}
}

// at reads len(p) bytes of the file system.
func (v *volume) at(p []byte, at int64) error {
	if _, err := v.r.ReadAt(p, at); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it is cut off", ErrDamaged)
		}
		return err
	}
	return nil
}

// copy writes to w the data of the file with that inode, which must have size
// bytes.
func (v *volume) copy(w io.Writer, nid uint64, size int64) error {
	at := int64(nid) * slotSize
	if nid > 1<<40 {
		return fmt.Errorf("%w: it has no inode %d", ErrDamaged, nid)
	}
	// Inodes stand where a block has room for them and for what is behind.
	head := v.block[:blockSize-at%blockSize]
	if err := v.at(head, at); err != nil {
		return err
	}
	le := binary.LittleEndian
	format, count := le.Uint16(head), int(le.Uint16(head[2:]))
	behind := inodeSize
	if count > 0 {
		behind += xattrHeaderSize + (count-1)*xattrEntrySize
	}
	if format&1 != 1 || le.Uint16(head[4:])&0o170000 != modeBits[typeRegular] || int64(le.Uint64(head[8:])) != size {
		return fmt.Errorf("%w: inode %d is not a file of %d bytes", ErrDamaged, nid, size)
	}
	union := le.Uint32(head[16:])
	switch format >> 1 {
	case layoutPlain:
		return v.blocks(w, union, size)
	case layoutInline:
		tail := int(size % blockSize)
		if behind+tail > len(head) {
			return fmt.Errorf("%w: the end of inode %d is not behind it", ErrDamaged, nid)
		}
		end := append(v.packed[:0], head[behind:behind+tail]...)
		if err := v.blocks(w, union, size-int64(tail)); err != nil {
			return err
		}
		_, err := w.Write(end)
		return err
	case layoutChunks:
		return v.chunks(w, at+int64(behind), size, int(union&0x1f)+blockBits)
	case layoutCompressed:
		return v.extents(w, at+int64(roundUp(behind, 8)+indexHeader), size)
	}
	return fmt.Errorf("%w: inode %d has the format %#x", ErrDamaged, nid, format)
}

// blocks writes consecutive blocks.
func (v *volume) blocks(w io.Writer, first uint32, size int64) error {
	for at, left := int64(first)<<blockBits, size; left > 0; {
		p := v.raw[:min(left, int64(len(v.raw)))]
		if err := v.at(p, at); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		at, left = at+int64(len(p)), left-int64(len(p))
	}
	return nil
}

// chunks writes a file of chunks, whose blocks are listed at the given place.
func (v *volume) chunks(w io.Writer, list, size int64, bits int) error {
	for left := size; left > 0; list += 4 {
		var number [4]byte
		if err := v.at(number[:], list); err != nil {
			return err
		}
		n := min(left, 1<<bits)
		left -= n
		block := binary.LittleEndian.Uint32(number[:])
		if block != noBlock {
			if err := v.blocks(w, block, n); err != nil {
				return err
			}
			continue
		}
		clear(v.raw)
		for n > 0 {
			m, err := w.Write(v.raw[:min(n, int64(len(v.raw)))])
			if err != nil {
				return err
			}
			n -= int64(m)
		}
	}
	return nil
}

// extents writes a compressed file, whose index stands at the given place.
func (v *volume) extents(w io.Writer, list, size int64) error {
	var index [extentBlocks * indexSize]byte
	le := binary.LittleEndian
	for left := size; left > 0; {
		n := int(min(left, extentSize))
		left -= int64(n)
		count := roundUp(n, blockSize) / blockSize
		entries := index[:count*indexSize]
		if err := v.at(entries, list); err != nil {
			return err
		}
		list += int64(len(entries))
		block := le.Uint32(entries[4:])
		switch kind := le.Uint16(entries); {
		case kind == indexPlain: // and so are all, one behind the other
			if err := v.blocks(w, block, int64(n)); err != nil {
				return err
			}
			continue
		case kind != indexHead || count < 2:
			return fmt.Errorf("%w: an extent begins with %d", ErrDamaged, kind)
		}
		packed := 1
		if next := entries[indexSize:]; le.Uint16(next) == indexNonhead {
			packed = int(le.Uint16(next[4:])) &^ indexCount
		}
		if packed >= count {
			return fmt.Errorf("%w: an extent of %d blocks has %d", ErrDamaged, count, packed)
		}
		if err := v.extent(w, block, packed, n); err != nil {
			return err
		}
	}
	return nil
}

// extent writes a compressed extent of n bytes.
func (v *volume) extent(w io.Writer, block uint32, packed, n int) error {
	src := v.packed[:packed*blockSize]
	if err := v.at(src, int64(block)<<blockBits); err != nil {
		return err
	}
	for len(src) > 0 && src[0] == 0 {
		src = src[1:]
	}
	if got, err := lz4.UncompressBlock(src, v.raw[:n]); err != nil || got != n {
		return fmt.Errorf("%w: an extent of %d bytes cannot be decompressed", ErrDamaged, n)
	}
	_, err := w.Write(v.raw[:n])
	return err
}
