package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/erofs"
)

// ErrDigest says that a tar is not the one that its digest promised.
var ErrDigest = fmt.Errorf("the content has another digest: %w", errdefs.ErrInvalidArgument)

// Add makes a layer of an uncompressed tar and returns it when it is on the
// disk. The tar must have the digest want, or the error is ErrDigest. What the
// tar itself is at fault for is errdefs.ErrInvalidArgument. After an error
// nothing is left. Without a digest ("") Add is AddUnknown.
//
// A layer that the store has is returned at once, with tar not read. While
// another call adds the same digest, Add waits for it, and takes over with its
// own tar when that one fails.
//
// Add stops when ctx ends, once a read of tar returns; tar stays the caller's
// to close.
func (s *Store) Add(ctx context.Context, tar io.Reader, want digest.Digest) (Layer, error) {
	if want == "" {
		return s.AddUnknown(ctx, tar, func(digest.Digest) error { return nil })
	}
	for {
		if l, err := s.Get(want); !missing(err) {
			return l, err
		}
		done, other := s.claim(want)
		if other == nil {
			defer done()
			if l, err := s.Get(want); !missing(err) { // added between the two
				return l, err
			}
			return s.write(ctx, tar, want, func(digest.Digest) error { return nil })
		}
		select {
		case <-other:
		case <-ctx.Done():
			return Layer{}, fmt.Errorf("cannot add layer %s: %w", want, context.Cause(ctx))
		}
	}
}

// AddUnknown makes a layer of an uncompressed tar whose SHA-256 digest, which
// nobody knows yet, names it. The tar must have its end marker, for nothing else
// would tell that it was cut off. known is called with the digest before the
// layer is there, so that nobody takes it for one that is not needed; its error
// ends the call.
func (s *Store) AddUnknown(ctx context.Context, tar io.Reader, known func(digest.Digest) error) (Layer, error) {
	return s.write(ctx, tar, "", known)
}

// claim makes the caller the one who adds a digest, until it calls done. When
// there is one already, its end is that of other.
func (s *Store) claim(d digest.Digest) (done func(), other <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.busy[d]; ok {
		return nil, c
	}
	c := make(chan struct{})
	s.busy[d] = c
	return func() {
		s.mu.Lock()
		delete(s.busy, d)
		s.mu.Unlock()
		close(c)
	}, nil
}

// write makes the file.
func (s *Store) write(ctx context.Context, tar io.Reader, want digest.Digest, known func(digest.Digest) error) (l Layer, err error) {
	name := "of an archive"
	algorithm := digest.SHA256
	if want != "" {
		name, algorithm = want.String(), want.Algorithm()
	}
	defer func() {
		if errors.Is(err, erofs.ErrTar) || errors.Is(err, erofs.ErrLimit) {
			err = fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			err = fmt.Errorf("cannot add layer %s: %w", name, err)
		}
	}()

	var cu cleanup.Stack
	defer cu.Clean()
	f, err := os.CreateTemp(s.dir, tmpPrefix+"*")
	if err != nil {
		return Layer{}, err
	}
	cu.Add(func() { os.Remove(f.Name()) })
	defer f.Close()

	digester := algorithm.Digester()
	in := readAhead(tar, digester.Hash())
	defer in.Close()
	info, err := erofs.FromTar(ctx, &eager{File: f}, in, erofs.Options{
		UUID:     func() [16]byte { return uuid(digester.Hash().Sum(nil)) },
		Compress: s.compress(),
		Recipe:   true,
	})
	if err != nil {
		return Layer{}, err
	}
	got := digester.Digest()
	switch {
	case want == "" && !info.Terminated:
		return Layer{}, fmt.Errorf("the archive has no end marker, so it was cut off: %w", errdefs.ErrInvalidArgument)
	case want != "" && got != want:
		return Layer{}, fmt.Errorf("%w: it is %s", ErrDigest, got)
	}
	if err := known(got); err != nil {
		return Layer{}, err
	}
	// It only lacked its name. A layer of an earlier version is replaced by one
	// that can make its tar again.
	if l, err := s.Get(got); !missing(err) && (err != nil || want != "" || l.Tar > 0) {
		return l, err
	}
	if err := f.Chmod(0o444); err != nil {
		return Layer{}, err
	}
	if err := f.Sync(); err != nil {
		return Layer{}, err
	}
	path, err := s.path(got)
	if err != nil {
		return Layer{}, err
	}
	// Should another have come first: the same digest has the same content.
	if err := os.Rename(f.Name(), path); err != nil {
		return Layer{}, err
	}
	cu.Release()
	if err := syncDir(s.dir); err != nil {
		return Layer{}, err
	}
	return s.Get(got)
}

// missing tells whether Get found nothing that could be used.
func missing(err error) bool { return errdefs.IsNotFound(err) || errdefs.IsDataLoss(err) }

// uuid makes a UUID of a digest: version 8 of RFC 9562, as an application
// defines it.
func uuid(sum []byte) (id [16]byte) {
	copy(id[:], sum)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
