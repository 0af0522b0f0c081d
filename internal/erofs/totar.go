package erofs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// ErrNoRecipe says that a file system was written without Options.Recipe.
var ErrNoRecipe = errors.New("the file system does not tell what archive it was made of")

// maxPieces is how many pieces a recipe can have: 16 TiB have no more blocks.
const maxPieces = math.MaxUint32 / (pieceSize / blockSize)

// WriteTar writes to w the archive that the file system in r was made of, byte
// for byte. Damage is found where it shows; to be sure, compare the digest of
// what was written. It stops when ctx ends.
func WriteTar(ctx context.Context, w io.Writer, r io.ReaderAt) error {
	h, err := readRecipe(r)
	if err != nil {
		return fmt.Errorf("cannot make the archive again: %w", err)
	}
	stream, err := zstd.NewReader(h, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(recipeWindow))
	if err != nil {
		return fmt.Errorf("cannot make the archive again: %w", err)
	}
	defer stream.Close()
	out := &limited{ctx: ctx, w: w, left: h.size}
	err = follow(bufio.NewReaderSize(stream, pieceSize), out, newVolume(r))
	if err == nil && out.left > 0 {
		err = fmt.Errorf("%w: %d bytes are missing", ErrDamaged, out.left)
	}
	if err != nil {
		return fmt.Errorf("cannot make the archive again: %w", err)
	}
	return nil
}

// follow does what a recipe says.
func follow(in *bufio.Reader, out io.Writer, v *volume) error {
	last := uint64(0)
	for {
		n, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return nil
		}
		if err == nil && n <= pieceSize {
			_, err = io.CopyN(out, in, int64(n))
		}
		if err != nil {
			return recipeError(err)
		}
		size, err := binary.ReadUvarint(in)
		if err != nil || n > pieceSize || size > math.MaxInt64 {
			return recipeError(err)
		}
		if size == 0 {
			continue
		}
		delta, err := binary.ReadVarint(in)
		if err != nil {
			return recipeError(err)
		}
		last += uint64(delta)
		if err := v.copy(out, last, int64(size)); err != nil {
			return err
		}
	}
}

// recipeError makes of an error of the stream one that says what is wrong.
func recipeError(err error) error {
	var write writeError
	if err == nil || !errors.As(err, &write) {
		return fmt.Errorf("%w: %w", ErrDamaged, errors.Join(errors.New("its recipe cannot be read"), err))
	}
	return err
}

// readHeader reads what block 0 says of the recipe.
func readRecipe(r io.ReaderAt) (*pieces, error) {
	var head [recipeHeader]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	size, ok := tarSize(head[:])
	if !ok {
		return nil, ErrNoRecipe
	}
	le := binary.LittleEndian
	p := &pieces{r: r, size: size, left: int64(le.Uint64(head[24:]))}
	count := (p.left + pieceSize - 1) / pieceSize
	if p.left < 0 || count > maxPieces {
		return nil, fmt.Errorf("%w: its recipe has %d bytes", ErrDamaged, p.left)
	}
	at := int64(le.Uint64(head[32:]))
	if at < 0 {
		return nil, fmt.Errorf("%w: its recipe is nowhere", ErrDamaged)
	}
	p.table = bufio.NewReaderSize(io.NewSectionReader(r, at, 4*count), blockSize)
	return p, nil
}

// tarSize returns the archive's size that the first bytes of a file system
// tell, and whether they do.
func tarSize(head []byte) (int64, bool) {
	le := binary.LittleEndian
	if string(head[:8]) != recipeMagic || le.Uint64(head[8:]) != recipeVersion {
		return 0, false
	}
	size := int64(le.Uint64(head[16:]))
	return size, size >= 0
}

// pieces reads the stream of a recipe.
type pieces struct {
	r     io.ReaderAt
	size  int64 // of the archive
	left  int64 // of the stream
	table *bufio.Reader
	piece io.Reader
}

func (p *pieces) Read(b []byte) (int, error) {
	for {
		if p.piece != nil {
			n, err := p.piece.Read(b)
			p.left -= int64(n)
			if n > 0 || err != io.EOF {
				return n, err
			}
			p.piece = nil
		}
		if p.left <= 0 {
			return 0, io.EOF
		}
		var number [4]byte
		if _, err := io.ReadFull(p.table, number[:]); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		at := int64(binary.LittleEndian.Uint32(number[:])) << blockBits
		p.piece = io.NewSectionReader(p.r, at, min(p.left, pieceSize))
	}
}

// A writeError is one of the caller's writer, or of its context.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// limited passes on what is written, and no more than was promised.
type limited struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if err := context.Cause(l.ctx); err != nil {
		return 0, writeError{err}
	}
	if int64(len(p)) > l.left {
		return 0, fmt.Errorf("%w: the archive would be longer than it was", ErrDamaged)
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	if err != nil {
		err = writeError{err}
	}
	return n, err
}
