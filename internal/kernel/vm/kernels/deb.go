package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

const arMagic = "!<arch>\n"

// debData returns the file system tar of a Debian package (deb(5)): an ar
// archive (ar(5)) whose member data.tar, data.tar.xz, .gz or .zst holds it.
func debData(r *bufio.Reader) (io.Reader, error) {
	if _, err := r.Discard(len(arMagic)); err != nil {
		return nil, err
	}
	for range 16 { // a package has three members
		var h [60]byte
		if _, err := io.ReadFull(r, h[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("cannot read the package's index: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || size < 0 || string(h[58:60]) != "`\n" {
			return nil, fmt.Errorf("the package's index is broken: %w", errdefs.ErrInvalidArgument)
		}
		name := strings.TrimRight(strings.TrimRight(string(h[:16]), " "), "/")
		if ext, ok := strings.CutPrefix(name, "data.tar"); ok {
			data, err := Decompress(ext, io.LimitReader(r, size))
			if err != nil {
				return nil, fmt.Errorf("cannot decompress %s: %w: %w", name, err, errdefs.ErrInvalidArgument)
			}
			// A bomb ends here, even one of entries that nobody takes.
			return io.LimitReader(data, maxTotal), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return nil, fmt.Errorf("the package ends early: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return nil, fmt.Errorf("the package holds no data.tar: %w", errdefs.ErrInvalidArgument)
}
