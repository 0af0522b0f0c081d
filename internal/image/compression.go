package image

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression is how a stream is compressed, as its first bytes tell.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
	bzipped
	xzipped
)

// maxWindow is the most memory that a zstd stream may ask for as its window:
// 128 MiB, what the zstd command allows by default.
const maxWindow = 128 << 20

var magics = []struct {
	magic []byte
	is    compression
}{
	{[]byte{0x1f, 0x8b, 0x08}, gzipped},         // RFC 1952, section 2.3.1
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, zstandard}, // RFC 8878, section 3.1.1
	{[]byte{'B', 'Z', 'h'}, bzipped},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, xzipped}, // "The .xz File Format", section 2.1.1.1
}

// detect looks at the first bytes of a stream.
func detect(head []byte) compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.magic) {
			return m.is
		}
	}
	// A zstd stream may begin with a skippable frame (RFC 8878, section 3.1.2).
	if len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50 {
		return zstandard
	}
	return plain
}

// sniff returns how r is compressed, and a reader of all of it.
func sniff(r io.Reader) (compression, io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return plain, nil, err
	}
	return detect(head), b, nil
}

// Decompress returns the uncompressed content of r, which may be compressed
// with gzip, zstd or bzip2, or not at all. It needs a bounded amount of memory,
// whatever r says. Closing it does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	kind, r, err := sniff(r)
	if err != nil {
		return nil, err
	}
	switch kind {
	case gzipped:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("cannot read gzip data: %w", err)
		}
		return z, nil
	case zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, fmt.Errorf("cannot read zstd data: %w", err)
		}
		return z.IOReadCloser(), nil
	case bzipped:
		return io.NopCloser(bzip2.NewReader(r)), nil
	case xzipped:
		return nil, fmt.Errorf("cannot read xz data: compress it with gzip or zstd instead: %w", errdefs.ErrNotImplemented)
	default:
		return io.NopCloser(r), nil
	}
}
