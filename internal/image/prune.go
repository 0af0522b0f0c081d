package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Prune removes those of the images without tags, or with all of those that no
// container uses, that match takes (nil: any), and whatever nothing else reaches: interrupted downloads, and the layers
// of the layer store that neither an image nor keepLayers names. It returns what
// it removed and how many bytes of disk that was. Neither callback may call the
// store.
func (s *Store) Prune(ctx context.Context, all bool, match func(Image) bool, inUse InUse, keepLayers func() map[digest.Digest]bool) ([]Removed, int64, error) {
	removed, reclaimed, err := s.prune(s.context(ctx), all, match, inUse, keepLayers)
	if err != nil {
		err = fmt.Errorf("cannot prune the images: %w", err)
	}
	return removed, reclaimed, err
}

func (s *Store) prune(ctx context.Context, all bool, match func(Image) bool, inUse InUse, keepLayers func() map[digest.Digest]bool) (removed []Removed, reclaimed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.blobSizes(ctx)
	if err != nil {
		return nil, 0, err
	}
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, 0, err
	}
	entries := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	for _, e := range entries {
		if len(e.tags) > 0 && !all || len(inUse(e.id)) > 0 {
			continue
		}
		if match != nil {
			// What cannot be read matches nothing.
			if img, _, err := s.image(ctx, e); err != nil || !match(img) {
				continue
			}
		}
		r, _, err := s.delete(ctx, e, inUse)
		if err != nil {
			return removed, 0, err
		}
		removed = append(removed, r...)
	}
	if _, err := s.releaseKept(ctx, c, inUse); err != nil {
		return removed, 0, err
	}
	idle, err := s.idleLeases(ctx)
	if err != nil {
		return removed, 0, err
	}
	for _, l := range idle {
		if err := s.leases.Delete(ctx, l); err != nil {
			return removed, 0, err
		}
	}
	reclaimed, err = s.sweepAll(ctx, keepLayers)
	if err != nil {
		return removed, reclaimed, err
	}
	after, err := s.blobSizes(ctx)
	for d, size := range before {
		if _, ok := after[d]; !ok && err == nil {
			reclaimed += size
		}
	}
	return removed, reclaimed, err
}

// sweepAll sweeps with all layers of the layer store.
func (s *Store) sweepAll(ctx context.Context, keepLayers func() map[digest.Digest]bool) (int64, error) {
	var keep map[digest.Digest]bool
	if keepLayers != nil {
		keep = keepLayers()
	}
	list, err := s.layers.List()
	if err != nil {
		return 0, err
	}
	var ids []digest.Digest
	for _, l := range list {
		ids = append(ids, l.DiffID)
	}
	return s.sweep(ctx, ids, keep)
}
