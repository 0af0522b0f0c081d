package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxEntries is how many files an archive may have. The old Docker format has
// three for each layer.
const maxEntries = 1 << 16

// files are those of a Docker or an OCI archive, as blobs in the
// content store under the lease of an operation. The names in it are only
// names: nothing is written to a path that an archive chooses.
type files struct {
	s       *Store
	regular map[string]ocispec.Descriptor
	links   map[string]string
}

// readArchive stores the files of the tar stream r.
func (s *Store) readArchive(ctx context.Context, op *operation, r io.Reader) (*files, error) {
	a := &files{s: s, regular: map[string]ocispec.Descriptor{}, links: map[string]string{}}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("this is not a whole tar archive: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		if n == maxEntries {
			return nil, fmt.Errorf("the archive has more than %d files: %w", maxEntries, errdefs.ErrInvalidArgument)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			ref := fmt.Sprintf("%s-%d", op.lease.ID, n)
			desc, err := s.ingest(ctx, ref, &contextReader{ctx: ctx, r: tr})
			if err != nil {
				return nil, fmt.Errorf("cannot read %q from the archive: %w", clean(name), err)
			}
			if err := checkName(name, desc.Digest); err != nil {
				return nil, err
			}
			a.regular[name] = desc
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

// checkName compares a blob of an OCI archive with its name.
func checkName(name string, got digest.Digest) error {
	hex, ok := strings.CutPrefix(name, "blobs/sha256/")
	if ok && hex != got.Encoded() {
		return fmt.Errorf("%s of the archive contains something else: %w: %w", clean(name), errVerify, errdefs.ErrDataLoss)
	}
	return nil
}

// ingest stores r as a blob, of which neither size nor digest are known before.
// ref must be new.
func (s *Store) ingest(ctx context.Context, ref string, r io.Reader) (ocispec.Descriptor, error) {
	w, err := content.OpenWriter(ctx, s.content, content.WithRef(ref))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("cannot write to the image store: %w", err)
	}
	defer w.Close()
	size, err := io.CopyBuffer(onlyWriter{w}, struct{ io.Reader }{r}, make([]byte, 128<<10))
	if err != nil {
		var local localError
		if !errors.As(err, &local) && ctx.Err() == nil {
			err = fmt.Errorf("the data is damaged or breaks off: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		return ocispec.Descriptor{}, err
	}
	d := w.Digest()
	if err := w.Commit(ctx, size, d); err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, fmt.Errorf("cannot write to the image store: %w", err)
	}
	return ocispec.Descriptor{Digest: d, Size: size}, nil
}

// file finds a file, also by links.
func (a *files) file(name string) (ocispec.Descriptor, bool) {
	name = path.Clean(name)
	for range 8 {
		if d, ok := a.regular[name]; ok {
			return d, true
		}
		target, ok := a.links[name]
		if !ok {
			break
		}
		name = target
	}
	return ocispec.Descriptor{}, false
}

// read returns the content of a file.
func (a *files) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	d, ok := a.file(name)
	if !ok {
		return nil, fmt.Errorf("%s is missing in the archive: %w", clean(name), errdefs.ErrInvalidArgument)
	}
	raw, err := a.s.readBlob(ctx, d.Digest, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", clean(name), err)
	}
	return raw, nil
}

// blob finds a blob of an OCI archive.
func (a *files) blob(d ocispec.Descriptor) (ocispec.Descriptor, bool) {
	if checkDigest(d.Digest) != nil {
		return d, false
	}
	got, ok := a.file("blobs/sha256/" + d.Digest.Encoded())
	return got, ok && got.Digest == d.Digest && got.Size == d.Size
}

// head returns the first bytes of a blob.
func (s *Store) head(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	r, err := s.content.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, min(8, r.Size())))
}
