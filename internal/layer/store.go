// Package layer keeps the layers of images, each as one EROFS file that
// containers mount and guests get as a disk.
//
// A store is a directory that holds DIFFID.erofs for each layer, named by the
// algorithm and the hexadecimal digits of the digest of the uncompressed tar
// ("sha256-4f53….erofs"), and tmp-* while one is written. Files are complete
// and on the disk before they get their name, never change, and may be read by
// all users: hypervisors run as users without rights.
//
// Where the kernel can read them so, files in a layer are compressed. A layer
// also holds what is needed to make its tar again, so that nobody has to keep
// what it was made of.
package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// A Layer is a file system in a file, read-only for ever.
type Layer struct {
	DiffID digest.Digest // of the uncompressed tar that it was made from
	Path   string
	Size   int64 // bytes of the file, a multiple of 4096
	// Opaque says that the layer hides all below it (a whiteout .wh..wh..opq in
	// its root). Overlayfs does not heed that: leave out the layers below.
	Opaque bool
	// Tar is the size of the tar that WriteTar makes; 0 says that it cannot, as
	// the layer is one of an earlier version of the engine.
	Tar int64
}

// A Store is a directory of layers. Its methods may be called concurrently;
// one process at a time owns the directory.
type Store struct {
	dir      string
	compress func() bool // tells whether layers may be compressed

	mu   sync.Mutex                      // guards what follows
	busy map[digest.Digest]chan struct{} // being added; closed when it was or failed
}

const (
	suffix    = ".erofs"
	tmpPrefix = "tmp-"
)

// Open opens the store in dir, made when it is missing, and removes what a
// crash has left half written.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the layer store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the layer store: %w", err)
	}
	// Others may pass, but not list; whatever the umask was.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot open the layer store: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the layer store: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tmpPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot remove a layer that was not finished: %w", err)
		}
	}
	return &Store{
		dir:      dir,
		compress: sync.OnceValue(func() bool { return readsCompressed(dir) }),
		busy:     map[digest.Digest]chan struct{}{},
	}, nil
}

// Get returns a layer that the store has, or errdefs.ErrNotFound. A file that
// something else has cut off or overwritten is errdefs.ErrDataLoss; adding the
// layer again replaces it.
func (s *Store) Get(diffID digest.Digest) (Layer, error) {
	path, err := s.path(diffID)
	if err != nil {
		return Layer{}, err
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Layer{}, fmt.Errorf("layer %s: %w", diffID, errdefs.ErrNotFound)
	case err != nil:
		return Layer{}, fmt.Errorf("cannot get layer %s: %w", diffID, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Layer{}, fmt.Errorf("cannot get layer %s: %w", diffID, err)
	}
	probe, err := erofs.Examine(f)
	if err == nil && probe.Size != info.Size() {
		err = fmt.Errorf("it has %d bytes instead of %d", info.Size(), probe.Size)
	}
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s is damaged, pull its image again: %w: %w", diffID, err, errdefs.ErrDataLoss)
	}
	return Layer{DiffID: diffID, Path: path, Size: probe.Size, Opaque: probe.Opaque, Tar: probe.Tar}, nil
}

// List returns all layers of the store, sorted by digest. One that is damaged
// is among them, with the size 0.
func (s *Store) List() ([]Layer, error) {
	entries, err := os.ReadDir(s.dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("cannot list layers: %w", err)
	}
	var layers []Layer
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		algorithm, encoded, hasDash := strings.Cut(name, "-")
		diffID := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), encoded)
		if !ok || !hasDash || diffID.Validate() != nil {
			continue
		}
		l, err := s.Get(diffID)
		switch {
		case errdefs.IsNotFound(err): // removed meanwhile
			continue
		case errdefs.IsDataLoss(err):
			l = Layer{DiffID: diffID, Path: filepath.Join(s.dir, e.Name())}
		case err != nil:
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// Remove removes a layer, or returns errdefs.ErrNotFound. Whoever has the file
// open or mounted keeps it; that none needs it is the caller's to know.
func (s *Store) Remove(diffID digest.Digest) error {
	path, err := s.path(diffID)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("layer %s: %w", diffID, errdefs.ErrNotFound)
	case err != nil:
		return fmt.Errorf("cannot remove layer %s: %w", diffID, err)
	}
	return syncDir(s.dir)
}

// path is where a layer stands.
func (s *Store) path(diffID digest.Digest) (string, error) {
	if err := diffID.Validate(); err != nil {
		return "", fmt.Errorf("%q is not a layer's digest: %w: %w", string(diffID), err, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(s.dir, diffID.Algorithm().String()+"-"+diffID.Encoded()+suffix), nil
}

// syncDir makes changes to the names in dir last over a power cut.
func syncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return fmt.Errorf("cannot sync %s: %w", dir, err)
	}
	return nil
}
