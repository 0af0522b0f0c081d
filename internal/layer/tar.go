package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/erofs"
)

// WriteTar writes to w the tar that a layer was made of, byte for byte. When
// that has not the layer's digest the error is errdefs.ErrDataLoss, after all
// of it was written: whoever reads along has to wait for the end.
func (s *Store) WriteTar(ctx context.Context, w io.Writer, diffID digest.Digest) error {
	l, err := s.Get(diffID)
	if err != nil {
		return err
	}
	if l.Tar == 0 {
		return fmt.Errorf("cannot make the tar of layer %s: an earlier version has written it: %w", diffID, errdefs.ErrNotFound)
	}
	f, err := os.Open(l.Path)
	if err != nil {
		return fmt.Errorf("cannot make the tar of layer %s: %w", diffID, err)
	}
	defer f.Close()
	digester := diffID.Algorithm().Digester()
	err = erofs.WriteTar(ctx, io.MultiWriter(w, digester.Hash()), f)
	if errors.Is(err, erofs.ErrDamaged) {
		err = fmt.Errorf("layer %s is damaged, pull its image again: %w: %w", diffID, err, errdefs.ErrDataLoss)
	}
	if err != nil {
		return err
	}
	if got := digester.Digest(); got != diffID {
		return fmt.Errorf("layer %s is damaged, pull its image again: its tar is %s: %w", diffID, got, errdefs.ErrDataLoss)
	}
	return nil
}
