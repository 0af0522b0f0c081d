package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Removed is one thing that Remove or Prune has removed: a name, or an image.
// One of the fields is empty.
type Removed struct {
	Untagged string // a name in its familiar form
	Deleted  string // an image's ID
}

// InUse returns the names of the containers, running or not, that use an image.
// It is called while no image can be recorded or removed, so it must not call
// the store.
type InUse = func(id digest.Digest) []string

// Remove removes an image as Docker does. A name only goes, and the image stays,
// while it has other tags. An ID takes all names with it, which must be in one
// repository unless force is set. What containers use is not removed
// (errdefs.ErrConflict), unless force is set and none of them is running
// (Config.Running). Its layers stay then until the first Prune or Remove after
// these containers are gone.
func (s *Store) Remove(ctx context.Context, refOrID string, force bool, inUse InUse) ([]Removed, error) {
	removed, err := s.remove(s.context(ctx), refOrID, force, inUse)
	if err != nil {
		return nil, fmt.Errorf("cannot remove %s: %w", clean(refOrID), err)
	}
	return removed, nil
}

func (s *Store) remove(ctx context.Context, refOrID string, force bool, inUse InUse) ([]Removed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	e, err := c.find(refOrID)
	if err != nil {
		return nil, err
	}
	e = c.entries[e.id]
	if name, err := recordName(refOrID); err == nil && slices.Contains(e.names(), name) {
		gone := e.fallsWith(name)
		if len(gone) < len(e.names()) {
			return untagged(gone), s.deleteRecords(ctx, gone...)
		}
	} else if repos := e.repositories(); len(repos) > 1 && !force {
		return nil, fmt.Errorf("the image has names in several repositories, such as %s and %s; name one of these, or remove it with force: %w",
			familiar(repos[0]), familiar(repos[1]), errdefs.ErrConflict)
	}
	if err := s.checkUse(e, force, inUse); err != nil {
		return nil, err
	}
	removed, layers, err := s.delete(ctx, e, inUse)
	if err != nil {
		return nil, err
	}
	layers2, err := s.releaseKept(ctx, c, inUse)
	if err != nil {
		return removed, err
	}
	_, err = s.sweep(ctx, append(layers, layers2...), nil)
	return removed, err
}

// fallsWith returns the names that go when name goes: with the last tag of a
// repository the digests by which it was pulled go too.
func (e *entry) fallsWith(name string) []string {
	gone := []string{name}
	ref, err := reference.ParseNormalizedNamed(name)
	if _, tagged := ref.(reference.NamedTagged); err != nil || !tagged {
		return gone
	}
	for _, t := range e.tags {
		if t.Name() == ref.Name() && t.String() != name {
			return gone
		}
	}
	for _, d := range e.digests {
		if d.Name() == ref.Name() {
			gone = append(gone, d.String())
		}
	}
	return gone
}

// checkUse says whether the containers that use e let it go.
func (s *Store) checkUse(e *entry, force bool, inUse InUse) error {
	for _, container := range inUse(e.id) {
		if s.running != nil && s.running(container) {
			return fmt.Errorf("image %s is used by the running container %s; stop it first: %w", short(e.id), container, errdefs.ErrConflict)
		}
		if !force {
			return fmt.Errorf("image %s is used by the container %s; remove that first, or the image with force: %w", short(e.id), container, errdefs.ErrConflict)
		}
	}
	return nil
}

// delete deletes the records of an image and all its names, or, while
// containers use it, leaves it as one that is kept. It returns the layers that
// may have become free. s.mu must be held.
func (s *Store) delete(ctx context.Context, e *entry, inUse InUse) ([]Removed, []digest.Digest, error) {
	keep := len(inUse(e.id)) > 0
	layers := s.layersOf(ctx, e)
	err := s.change(ctx, func(ctx context.Context) error {
		for _, n := range append(e.names(), e.id.String()) {
			if err := s.images.Delete(ctx, n); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		if !keep {
			return nil
		}
		_, err := s.images.Create(ctx, images.Image{Name: keptPrefix + e.id.String(), Target: e.target})
		if errdefs.IsAlreadyExists(err) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return append(untagged(e.names()), Removed{Deleted: e.id.String()}), layers, nil
}

// releaseKept deletes the records of kept images that no container uses any
// more, and returns the layers that may have become free. s.mu must be held.
func (s *Store) releaseKept(ctx context.Context, c *catalog, inUse InUse) ([]digest.Digest, error) {
	var layers []digest.Digest
	for id, e := range c.kept {
		if len(inUse(id)) > 0 {
			continue
		}
		layers = append(layers, s.layersOf(ctx, e)...)
		if err := s.deleteRecords(ctx, keptPrefix+id.String()); err != nil {
			return layers, err
		}
	}
	return layers, nil
}

// layersOf returns the diff IDs of e; none if it cannot be read.
func (s *Store) layersOf(ctx context.Context, e *entry) []digest.Digest {
	p, err := s.load(ctx, e.target)
	if err != nil {
		s.log.Warn("the layers of an image that cannot be read stay until they are pruned", "image", e.id, "error", err)
		return nil
	}
	return slices.Clone(p.config.RootFS.DiffIDs)
}

func untagged(names []string) []Removed {
	var out []Removed
	for _, n := range names {
		out = append(out, Removed{Untagged: familiar(n)})
	}
	return out
}

// familiar returns the short form of the name of a record or repository.
func familiar(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(ref)
}
