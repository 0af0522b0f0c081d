package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// sweep removes all content that no record and no lease reaches and, of the
// given layers, those that neither these nor keep reach. It returns the bytes
// that the layers took. Layers that are not given stay: others may have brought
// them.
func (s *Store) sweep(ctx context.Context, layers []digest.Digest, keep map[digest.Digest]bool) (int64, error) {
	if _, err := s.db.GarbageCollect(ctx); err != nil {
		return 0, fmt.Errorf("cannot collect garbage in the image store: %w", err)
	}
	s.pins.Lock()
	defer s.pins.Unlock()
	live, err := s.liveLayers(ctx)
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, d := range unique(layers) {
		if live[d] || keep[d] {
			continue
		}
		l, err := s.layers.Get(d)
		if errdefs.IsNotFound(err) {
			continue // a blob, or a layer that never came
		}
		if err == nil {
			err = s.layers.Remove(d)
		}
		if err != nil {
			return freed, fmt.Errorf("cannot remove layer %s: %w", short(d), err)
		}
		freed += l.Size
	}
	return freed, nil
}

// prepareContent gets the directory of the content store, which nobody may use
// yet, into a state in which its garbage collection finds everything: without
// blobs/ that would look at no unfinished download at all, and it passes over
// one whose name a crash has kept from being written or has removed first.
func prepareContent(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return err
	}
	unfinished, err := filepath.Glob(filepath.Join(dir, "ingest", "*"))
	if err != nil {
		return err
	}
	for _, u := range unfinished {
		ref, err := os.ReadFile(filepath.Join(u, "ref"))
		if err == nil && digest.FromBytes(ref).Encoded() == filepath.Base(u) {
			continue
		}
		if err := os.RemoveAll(u); err != nil {
			return err
		}
	}
	return nil
}

// liveLayers returns the diff IDs that records or leases reach.
func (s *Store) liveLayers(ctx context.Context) (map[digest.Digest]bool, error) {
	live := map[digest.Digest]bool{}
	records, err := s.images.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		p, err := s.load(ctx, r.Target)
		if errdefs.IsNotFound(err) {
			continue // its content is lost, so nothing can come of it
		}
		if err != nil {
			// Nothing may be removed while it is unknown what is in use.
			return nil, fmt.Errorf("%s cannot be read; remove it, and pull it anew if need be: %w", r.Name, err)
		}
		for _, d := range p.config.RootFS.DiffIDs {
			live[d] = true
		}
	}
	all, err := s.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if expired(l) && !s.active.has(l.ID) {
			continue
		}
		ds, err := s.pinned(ctx, l)
		if err != nil {
			return nil, err
		}
		for _, d := range ds {
			live[d] = true
		}
	}
	return live, nil
}

// blobSizes returns the size of each blob in the content store.
func (s *Store) blobSizes(ctx context.Context) (map[digest.Digest]int64, error) {
	sizes := map[digest.Digest]int64{}
	err := s.content.Walk(ctx, func(info content.Info) error {
		sizes[info.Digest] = info.Size
		return nil
	})
	return sizes, err
}
