package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// Every record of the metadata store has a name and points at the manifest of
// one platform. There are four kinds, told apart by the name:
//
//	docker.io/library/nginx:latest         a tag
//	docker.io/library/nginx@sha256:…       a digest by which it was pulled
//	sha256:…                               the image itself; it has one for as long as it exists
//	kept/sha256:…                          an image that was removed by force while stopped
//	                                       containers used it: unlisted, but its layers stay
const keptPrefix = "kept/"

// publish makes an image known: the image itself, and names for it, all at
// once. Names that stood for another image move. The caller's lease protects
// the content until then.
func (s *Store) publish(ctx context.Context, p *parsed, names ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	target := ocispec.Descriptor{MediaType: p.desc.MediaType, Digest: p.desc.Digest, Size: p.desc.Size}
	return s.change(ctx, func(ctx context.Context) error {
		err := s.images.Delete(ctx, keptPrefix+p.id.String())
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		_, err = s.images.Create(ctx, images.Image{Name: p.id.String(), Target: target})
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
		for _, name := range names {
			if err := s.point(ctx, name, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// published returns an image that the caller has just published, under whose
// lease it still is: also if another call has removed it since.
func (s *Store) published(ctx context.Context, p *parsed) (Image, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return Image{}, err
	}
	e := entry{id: p.id}
	if found := c.entries[p.id]; found != nil {
		e = *found
	}
	e.target = p.desc
	img, _, err := s.image(ctx, &e)
	return img, err
}

// point makes name stand for target.
func (s *Store) point(ctx context.Context, name string, target ocispec.Descriptor) error {
	r := images.Image{Name: name, Target: target}
	_, err := s.images.Create(ctx, r)
	if errdefs.IsAlreadyExists(err) {
		_, err = s.images.Update(ctx, r, "target")
	}
	return err
}

// change runs f with a context in which all changes to records are one
// transaction. s.mu must be held.
func (s *Store) change(ctx context.Context, f func(ctx context.Context) error) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		return f(boltutil.WithTransaction(ctx, tx))
	})
	s.records.changed()
	if err != nil {
		return fmt.Errorf("cannot record the change: %w", err)
	}
	return nil
}

// deleteRecords deletes records, of which some may be gone already.
func (s *Store) deleteRecords(ctx context.Context, names ...string) error {
	return s.change(ctx, func(ctx context.Context) error {
		for _, n := range names {
			if err := s.images.Delete(ctx, n); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}

// Tag gives the image src the further name dst, which is a tag in a repository;
// without a tag it means "latest". If dst stood for another image, it moves.
func (s *Store) Tag(ctx context.Context, src, dst string) error {
	ctx = s.context(ctx)
	ref, err := parseTag(dst)
	if err != nil {
		return fmt.Errorf("cannot tag %s: %w", src, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.catalog(ctx)
	if err != nil {
		return err
	}
	e, err := c.find(src)
	if err != nil {
		return err
	}
	return s.change(ctx, func(ctx context.Context) error { return s.point(ctx, ref.String(), e.target) })
}

// parseTag reads a reference with a tag, and adds "latest" to one without.
func parseTag(s string) (reference.NamedTagged, error) {
	ref, err := parseNamed(s)
	if err != nil {
		return nil, err
	}
	if _, ok := ref.(reference.Digested); ok {
		return nil, fmt.Errorf("%q has a digest, which cannot be chosen; give a tag alone: %w", clean(s), errdefs.ErrInvalidArgument)
	}
	if reference.FamiliarName(ref) == string(digest.SHA256) {
		return nil, fmt.Errorf("%q would look like an ID; choose another name: %w", clean(s), errdefs.ErrInvalidArgument)
	}
	return reference.TagNameOnly(ref).(reference.NamedTagged), nil
}

// parseNamed reads a reference as Docker normalises it.
func parseNamed(s string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a name for an image: %w: %w", clean(s), err, errdefs.ErrInvalidArgument)
	}
	return ref, nil
}

// sorted returns the familiar forms of refs, in order.
func sorted[R reference.Named](refs []R) []string {
	out := make([]string, 0, len(refs))
	for _, r := range refs {
		out = append(out, reference.FamiliarString(r))
	}
	slices.Sort(out)
	return out
}
