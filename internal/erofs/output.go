package erofs

import (
	"bytes"
	"fmt"
	"io"
)

// File is what the file system is written to: an *os.File, empty and open for
// writing. What is not written must read as zeros.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// windowSize is how much of the file's end is gathered in memory before it is
// written. It must hold the largest chunk and a block.
const windowSize = 2 << 20

// maxBlocks is how many blocks 32-bit numbers count, without noBlock.
const maxBlocks = noBlock

var zeros [blockSize]byte

// An output hands out blocks from the end of a file, and gathers what is
// written near that end. Blocks of zeros are not written: the file gets holes.
type output struct {
	file   File
	base   int64  // where window stands in the file; all before it is written
	end    int64  // the first byte not handed out, a multiple of blockSize
	window []byte // zero from end on
}

func newOutput(f File) *output {
	return &output{file: f, window: make([]byte, windowSize)}
}

// flush writes what was handed out and moves the window to the end.
func (o *output) flush() error {
	used := o.window[:o.end-o.base]
	for from := 0; from < len(used); {
		if isZero(used[from : from+blockSize]) {
			from += blockSize
			continue
		}
		to := from + blockSize
		for to < len(used) && !isZero(used[to:to+blockSize]) {
			to += blockSize
		}
		if _, err := o.file.WriteAt(used[from:to], o.base+int64(from)); err != nil {
			return fmt.Errorf("cannot write the file system: %w", err)
		}
		from = to
	}
	clear(used)
	o.base = o.end
	return nil
}

// next returns n bytes of memory, at most windowSize, that stand at the end of
// the file. They become part of it by commit; what is not committed must be
// zero when the next method is called.
func (o *output) next(n int) ([]byte, error) {
	if o.end-o.base+int64(n) > windowSize {
		if err := o.flush(); err != nil {
			return nil, err
		}
	}
	at := o.end - o.base
	return o.window[at : at+int64(n)], nil
}

// commit hands out the first n bytes of what next returned, in whole blocks,
// and returns the number of the first.
func (o *output) commit(n int) (uint32, error) {
	at := o.end
	o.end += roundUp(int64(n), blockSize)
	return uint32(at >> blockBits), o.check()
}

// check refuses a file that is larger than block numbers count.
func (o *output) check() error {
	if o.end>>blockBits > maxBlocks {
		return fmt.Errorf("%w: the file system would be larger than 16 TiB", ErrLimit)
	}
	return nil
}

// takeBack undoes the hand-out of the last block, whose bytes it returns; they
// are valid and must be made zero before the next method is called.
func (o *output) takeBack() []byte {
	o.end -= blockSize
	at := o.end - o.base
	return o.window[at : at+blockSize]
}

// alloc hands out n bytes in whole blocks and returns where they start.
func (o *output) alloc(n int64) (int64, error) {
	n = roundUp(n, blockSize)
	at := o.end
	if o.end-o.base+n > windowSize {
		if err := o.flush(); err != nil {
			return 0, err
		}
	}
	o.end += n
	if n > windowSize { // writeAt goes to the file itself
		o.base = o.end
	}
	return at, o.check()
}

// writeAt writes p to a place that one call has handed out; that is not partly
// in the window, for flush moves the window to the end of all places.
func (o *output) writeAt(p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	if at >= o.base {
		copy(o.window[at-o.base:], p)
		return nil
	}
	if _, err := o.file.WriteAt(p, at); err != nil {
		return fmt.Errorf("cannot write the file system: %w", err)
	}
	return nil
}

// finish writes all that is left and gives the file its size.
func (o *output) finish() error {
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.file.Truncate(o.end); err != nil {
		return fmt.Errorf("cannot write the file system: %w", err)
	}
	return nil
}

// isZero tells whether p holds zeros alone.
func isZero(p []byte) bool {
	for len(p) > blockSize {
		if !bytes.Equal(p[:blockSize], zeros[:]) {
			return false
		}
		p = p[blockSize:]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
