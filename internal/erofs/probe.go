package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Probe is what the first block of a file system tells.
type Probe struct {
	Size int64 // of the file system, in bytes
	UUID [16]byte
	// Opaque tells that the root directory hides all that lower layers have.
	// Overlayfs does not heed the mark on the root of a layer: whoever stacks
	// layers leaves out those below this one.
	Opaque bool
	// Tar is the size of the archive that WriteTar makes, 0 when it cannot.
	Tar int64
}

// Examine reads the first block of a file system that FromTar wrote.
func Examine(r io.ReaderAt) (Probe, error) {
	block := make([]byte, blockSize)
	if _, err := r.ReadAt(block, 0); err != nil && !errors.Is(err, io.EOF) {
		return Probe{}, fmt.Errorf("cannot read the file system: %w", err)
	}
	le := binary.LittleEndian
	super := block[superOffset:]
	at := int(le.Uint16(super[14:])) * slotSize
	if le.Uint32(super) != superMagic || at != rootOffset && at != rootBehindConfig {
		return Probe{}, errors.New("cannot read the file system: it is not one that this package wrote")
	}
	p := Probe{Size: int64(le.Uint32(super[36:])) << blockBits, UUID: [16]byte(super[48:64])}
	p.Tar, _ = tarSize(block)
	root := block[at:]
	if count := int(le.Uint16(root[2:])); count > 0 {
		size := min(xattrHeaderSize+(count-1)*xattrEntrySize, len(root)-inodeSize)
		p.Opaque = hasXattr(root[inodeSize:inodeSize+size], opaqueXattr)
	}
	return p, nil
}
