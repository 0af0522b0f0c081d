package erofs

import (
	"encoding/binary"
	"time"
)

// Where the root directory's inode stands, in block 0: behind the superblock
// and, when files may be compressed, its configuration.
const (
	rootOffset       = superOffset + superSize
	rootBehindConfig = rootOffset + (configSize+slotSize-1)/slotSize*slotSize
)

// finish writes what had to wait for the last entry: link counts, whiteouts,
// directories and the superblock.
func (w *writer) finish(uuid [16]byte) error {
	if err := w.linkCounts(); err != nil {
		return err
	}
	if err := w.whiteouts(); err != nil {
		return err
	}
	// All directories get their places first, for they name one another.
	all, err := w.place(nil, w.tree.root, w.tree.root)
	if err != nil {
		return err
	}
	block := make([]byte, blockSize)
	for i, l := range all {
		if err := w.directory(l); err != nil {
			return err
		}
		if i == 0 { // the root
			copy(block[w.root:], w.scratch)
		}
	}
	if w.recipe != nil {
		if err := w.recipe.finish(block, w.in.n); err != nil {
			return err
		}
	}
	super := superblock{
		root:   uint16(w.root / slotSize),
		inodes: uint64(w.tree.count),
		blocks: uint32(w.out.end >> blockBits),
		uuid:   uuid,
		chunks: w.chunked,
		packed: w.packed,
	}
	super.put(block)
	if err := w.out.writeAt(block, 0); err != nil {
		return err
	}
	return w.out.finish()
}

// linkCounts puts right what was written when a file had one name.
func (w *writer) linkCounts() error {
	for _, n := range w.tree.linked {
		count := binary.LittleEndian.AppendUint32(nil, n.nlink)
		if err := w.out.writeAt(count, int64(n.nid)*slotSize+nlinkOffset); err != nil {
			return err
		}
	}
	return nil
}

// whiteouts writes the inode that all whiteouts share: a character device 0:0,
// as overlayfs wants it.
func (w *writer) whiteouts() error {
	if w.tree.whiteout.nlink == 0 {
		return nil
	}
	n, err := w.put(&inode{kind: typeChar, mtime: time.Unix(0, 0), nlink: w.tree.whiteout.nlink}, nil)
	if err != nil {
		return err
	}
	w.tree.whiteout.nid = n.nid
	return nil
}
