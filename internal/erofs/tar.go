package erofs

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// Errors of FromTar for errors.Is. Those of the reader and of the file come
// through as they are.
var (
	// ErrTar says that the archive is damaged, or has what no layer may have.
	ErrTar = errors.New("not a valid layer archive")
	// ErrLimit says that the archive is larger than the limits allow.
	ErrLimit = errors.New("limit exceeded")
)

// Options of FromTar. The zero value of a limit stands for its default.
type Options struct {
	// MaxEntries limits how many entries the archive has (4 Mi).
	MaxEntries int
	// MaxBytes limits the sizes of all files in the archive together, holes
	// included (1 TiB).
	MaxBytes int64
	// MaxMetadata limits what is kept in memory until the end: names,
	// directories, their extended attributes, in bytes (1 GiB).
	MaxMetadata int
	// UUID is asked for the file system's UUID when the archive has been read
	// to its end. Without it the UUID is zero. Overlayfs tells layers apart by
	// it, to find the origin of a file that was copied up.
	UUID func() [16]byte
	// Compress compresses files with LZ4. The kernel must be able to read them:
	// Linux 5.13 with CONFIG_EROFS_FS_ZIP.
	Compress bool
	// Recipe adds what WriteTar needs to make the archive again.
	Recipe bool
}

func (o Options) withDefaults() Options {
	if o.MaxEntries == 0 {
		o.MaxEntries = 4 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 40
	}
	if o.MaxMetadata == 0 {
		o.MaxMetadata = 1 << 30
	}
	return o
}

// Info says what FromTar has written.
type Info struct {
	Size  int64 // bytes, a multiple of 4096
	Files int   // inodes: files, directories, links and devices
	// Terminated tells whether the archive had an end marker (at least one
	// block of zeros). Without it a cut-off archive may look whole.
	Terminated bool
}

// FromTar reads an uncompressed tar archive, the whole of it to the end of r,
// and writes it to out as an EROFS file system. Whiteouts become what
// overlayfs makes of them. After an error the content of out is of no use.
//
// Between entries and parts of files, FromTar stops when ctx ends; a read that
// hangs is for the owner of r to end.
func FromTar(ctx context.Context, out File, r io.Reader, opts Options) (Info, error) {
	src := &source{ctx: ctx, r: r}
	buffered := bufio.NewReaderSize(src, 128<<10)
	opts = opts.withDefaults()
	o := newOutput(out)
	w := &writer{
		ctx: ctx, out: o, slots: slots{out: o}, tree: newTree(opts.MaxMetadata), opts: opts,
		in: &position{r: buffered}, tail: make([]byte, 0, blockSize), root: rootOffset,
	}
	if opts.Compress {
		w.comp, w.start, w.root = newCompressor(), make([]byte, lookahead), rootBehindConfig
	}
	if opts.Recipe {
		r, err := newRecipe(o)
		if err != nil {
			return Info{}, fmt.Errorf("cannot keep what the archive was made of: %w", err)
		}
		w.recipe, w.in.recipe = r, r
	}
	info, err := w.run(w.in)
	if err == nil {
		err = w.in.discard(w.in)
	}
	if src.err != nil { // and not what followed from it
		return Info{}, fmt.Errorf("cannot read the archive: %w", src.err)
	}
	if err != nil {
		return Info{}, err
	}
	var uuid [16]byte
	if opts.UUID != nil {
		uuid = opts.UUID()
	}
	if err := w.finish(uuid); err != nil {
		return Info{}, fmt.Errorf("cannot finish the file system: %w", err)
	}
	info.Size, info.Files = o.end, w.tree.count
	return info, nil
}

// run reads the archive entry by entry.
func (w *writer) run(in *position) (Info, error) {
	if _, err := w.out.alloc(blockSize); err != nil { // block 0
		return Info{}, err
	}
	tr := tar.NewReader(in)
	for entries := 1; ; entries++ {
		in.watch()
		h, err := tr.Next()
		if err == io.EOF {
			return Info{Terminated: in.zeros()}, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are judged below
			return Info{}, fmt.Errorf("cannot read entry %d of the archive: %w", entries, damaged(err))
		}
		if entries > w.opts.MaxEntries {
			return Info{}, fmt.Errorf("cannot read the archive: %w: it has more than %d entries", ErrLimit, w.opts.MaxEntries)
		}
		if err := w.add(h, tr); err != nil {
			return Info{}, fmt.Errorf("cannot add %q: %w", abbreviate(h.Name), err)
		}
		// To the end of the entry's data, so that the position is known.
		if err := in.discard(tr); err != nil {
			if w.recipe != nil && w.recipe.err != nil { // not the archive's fault
				return Info{}, w.recipe.err
			}
			return Info{}, fmt.Errorf("cannot read %q: %w", abbreviate(h.Name), damaged(err))
		}
	}
}

// abbreviate keeps hostile names from filling the log.
func abbreviate(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName] + "…"
}

// damaged makes an error of the tar reader ErrTar.
func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off: %w", ErrTar, err)
	}
	return fmt.Errorf("%w: %w", ErrTar, err)
}

// owner checks a user or group ID. The last one is (uid_t)-1, which no file
// can belong to.
func owner(id int) (uint32, error) {
	if id < 0 || int64(id) >= math.MaxUint32 {
		return 0, fmt.Errorf("%w: no file can belong to ID %d", ErrTar, id)
	}
	return uint32(id), nil
}
