package erofs

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
)

// Files are read in chunks. One with a chunk of zeros becomes a file of chunks
// (layoutChunks), of which those are holes that take no room, in this file
// system or on the host's; others lie in consecutive blocks.
const (
	minChunkBits = 16      // smaller holes are left to the host's file system
	maxChunkBits = 20      // windowSize holds two
	maxChunks    = 1 << 20 // from here on chunks are larger, up to maxChunkBits
)

// chunkBitsFor returns the size of a file's chunks.
func chunkBitsFor(size int64) int {
	bits := minChunkBits
	for size>>bits > maxChunks && bits < maxChunkBits {
		bits++
	}
	return bits
}

// regular writes a file's data as it arrives, and its inode.
func (w *writer) regular(n *inode, data io.Reader, size int64, sparse bool) (*node, error) {
	n.size = size
	if w.recipe == nil || sparse || size == 0 {
		return w.content(n, data, size, sparse)
	}
	w.in.data = size
	made, err := w.content(n, data, size, false)
	if err == nil {
		w.recipe.record(made.nid, size)
	}
	return made, err
}

// content chooses how a file's data lies.
func (w *writer) content(n *inode, data io.Reader, size int64, sparse bool) (*node, error) {
	bits := chunkBitsFor(size)
	if w.compressible(size) && !sparse {
		start := w.start[:min(size, lookahead)]
		if err := w.read(data, start); err != nil {
			return nil, err
		}
		data = io.MultiReader(bytes.NewReader(start), data)
		if !hasHole(start, 1<<bits) && !isProgram(n, start) {
			return w.compressed(n, data, size)
		}
	}
	holes, err := w.data(data, size, 1<<bits)
	if err != nil {
		return nil, err
	}
	// Between the chunks of a sparse file there may be parts of the recipe.
	if holes || sparse && w.recipe != nil && size > 0 {
		w.chunked = true
		n.layout, n.union = layoutChunks, uint32(bits-blockBits)
		blocks := make([]byte, 0, 4*len(w.chunks))
		for _, c := range w.chunks {
			blocks = binary.LittleEndian.AppendUint32(blocks, c)
		}
		return w.put(n, blocks)
	}
	first := uint32(noBlock)
	if len(w.chunks) > 0 {
		first = w.chunks[0]
	}
	return w.flat(n, first, size)
}

// flat writes the inode of a file whose data was the last to be written, in
// consecutive blocks from first on.
func (w *writer) flat(n *inode, first uint32, size int64) (*node, error) {
	n.union = first
	tail := int(size % blockSize)
	if tail == 0 || !fitsInline(n, tail) {
		return w.put(n, nil)
	}
	// The last block is not full: its bytes go behind the inode.
	n.layout = layoutInline
	if size < blockSize {
		n.union = noBlock
	}
	last := w.out.takeBack()
	end := append(w.tail[:0], last[:tail]...)
	clear(last[:tail])
	return w.put(n, end)
}

// data copies size bytes into blocks of their own and fills w.chunks with
// where they are. It tells whether there are holes among them.
func (w *writer) data(r io.Reader, size int64, chunk int) (holes bool, err error) {
	w.chunks = w.chunks[:0]
	for left := size; left > 0; {
		n := int(min(left, int64(chunk)))
		if w.recipe != nil { // it takes blocks, too
			if err := w.recipe.settle(); err != nil {
				return false, err
			}
		}
		p, err := w.out.next(roundUp(n, blockSize))
		if err != nil {
			return false, err
		}
		if err := w.read(r, p[:n]); err != nil {
			return false, err
		}
		left -= int64(n)
		if size >= blockSize && isZero(p[:n]) {
			w.chunks = append(w.chunks, noBlock)
			holes = true
			continue
		}
		block, err := w.out.commit(n)
		if err != nil {
			return false, err
		}
		w.chunks = append(w.chunks, block)
	}
	return holes, nil
}

// read fills p with a file's data.
func (w *writer) read(r io.Reader, p []byte) error {
	if err := context.Cause(w.ctx); err != nil { // no read tells in a hole
		return err
	}
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return damaged(err)
	}
	return nil
}

// isProgram tells whether a file that begins so is one that can be executed.
func isProgram(n *inode, start []byte) bool {
	return n.perm&0o111 != 0 && bytes.HasPrefix(start, []byte("\x7fELF"))
}

// hasHole tells whether a chunk of p holds zeros alone.
func hasHole(p []byte, chunk int) bool {
	for ; len(p) > 0; p = p[min(chunk, len(p)):] {
		if isZero(p[:min(chunk, len(p))]) {
			return true
		}
	}
	return false
}

// symlink writes a symlink, whose target is its data.
func (w *writer) symlink(n *inode, target string) (*node, error) {
	n.size = int64(len(target))
	n.union = noBlock
	if fitsInline(n, len(target)) {
		n.layout = layoutInline
		return w.put(n, []byte(target))
	}
	at, err := w.out.alloc(n.size)
	if err != nil {
		return nil, err
	}
	n.union = uint32(at >> blockBits)
	if err := w.out.writeAt([]byte(target), at); err != nil {
		return nil, err
	}
	return w.put(n, nil)
}

// fitsInline tells whether size bytes fit behind the inode: the kernel wants
// them, the inode and its xattrs in one block.
func fitsInline(n *inode, size int) bool {
	return inodeSize+len(n.xattrs)+size <= blockSize
}

// put writes an inode and what stands behind it.
func (w *writer) put(n *inode, behind []byte) (*node, error) {
	at, err := w.slots.alloc(inodeSize + len(n.xattrs) + len(behind))
	if err != nil {
		return nil, err
	}
	return &node{kind: n.kind, nid: uint64(at / slotSize)}, w.write(n, behind, at)
}

// write writes an inode and what stands behind it to a place of its own.
func (w *writer) write(n *inode, behind []byte, at int64) error {
	w.numbers++
	n.number = w.numbers
	w.scratch = append(n.append(w.scratch[:0]), behind...)
	return w.out.writeAt(w.scratch, at)
}
