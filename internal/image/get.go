package image

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Get returns the image that refOrID names, which is looked up as Docker does:
// a full ID, then a tag or a digest (name@sha256:…), then the beginning of an ID.
// A name without a tag means "latest". Layers that are missing from the layer
// store are unpacked again if their blobs were kept, as earlier versions of the
// engine did; else the error is errdefs.ErrDataLoss, and a pull brings them.
//
// The full ID of an image that was removed by force while stopped containers
// used it is still found, so that these can be started again; such an image is
// not listed, and has no names.
func (s *Store) Get(ctx context.Context, refOrID string) (Image, error) {
	ctx = s.context(ctx)
	c, err := s.catalog(ctx)
	if err != nil {
		return Image{}, err
	}
	e, err := c.find(refOrID)
	if err != nil {
		kept, ok := c.kept[digest.Digest(refOrID)]
		if !ok {
			return Image{}, err
		}
		e = kept
	}
	img, missing, err := s.image(ctx, e)
	if err != nil || len(missing) == 0 {
		return img, err
	}
	if err := s.restore(ctx, e); err != nil {
		return Image{}, fmt.Errorf("the layers of image %s are not complete; pull or load it again: %w", short(e.id), err)
	}
	img, missing, err = s.image(ctx, e)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("layer %s of image %s is missing: %w", short(missing[0]), short(e.id), errdefs.ErrDataLoss)
	}
	return img, err
}

// noSuchImage are Docker's words. Clients look for them as they are: docker-py
// tells by them what it is that was not found.
const noSuchImage = "No such image"

// find looks up an image, as Get says. The entry's target is the manifest that
// the given name stands for.
func (c *catalog) find(refOrID string) (*entry, error) {
	if refOrID == "" {
		return nil, fmt.Errorf("the name of an image must not be empty: %w", errdefs.ErrInvalidArgument)
	}
	if e := c.byFullID(refOrID); e != nil {
		return e, nil
	}
	if e := c.byName(refOrID); e != nil {
		return e, nil
	}
	e, err := c.byPrefix(refOrID)
	if e == nil && err == nil {
		err = fmt.Errorf("%s: %s; see `abode images`, or get it with `abode pull`: %w", noSuchImage, clean(refOrID), errdefs.ErrNotFound)
	}
	return e, err
}

// byFullID finds an image by all 64 digits of its ID, with or without "sha256:".
func (c *catalog) byFullID(s string) *entry {
	return c.entries[digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(s, "sha256:"))]
}

// byName finds an image by a tag or digest.
func (c *catalog) byName(s string) *entry {
	name, err := recordName(s)
	if err != nil {
		return nil
	}
	n, ok := c.names[name]
	if !ok {
		return nil
	}
	e := *c.entries[n.id]
	e.target = n.target
	return &e
}

// recordName returns the name of the record for a reference. Of a reference
// with both tag and digest, the digest counts.
func recordName(s string) (string, error) {
	ref, err := parseNamed(s)
	if err != nil {
		return "", err
	}
	if d, ok := ref.(reference.Digested); ok {
		canonical, err := reference.WithDigest(reference.TrimNamed(ref), d.Digest())
		if err != nil {
			return "", err
		}
		return canonical.String(), nil
	}
	return reference.TagNameOnly(ref).String(), nil
}

// byPrefix finds an image by the beginning of its ID. It returns nil when there
// is none.
func (c *catalog) byPrefix(s string) (*entry, error) {
	prefix := strings.TrimPrefix(s, "sha256:")
	if !isIDPrefix(prefix) {
		return nil, nil
	}
	var found *entry
	for id, e := range c.entries {
		if !strings.HasPrefix(id.Encoded(), prefix) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s is the beginning of the IDs of several images, such as %s and %s; give more digits: %w",
				s, short(found.id), short(id), errdefs.ErrInvalidArgument)
		}
		found = e
	}
	return found, nil
}

// isIDPrefix says whether s can be the beginning of an image's ID.
func isIDPrefix(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}
