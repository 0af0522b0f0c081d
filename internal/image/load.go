package image

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A candidate is an image in an archive: its manifest, which is in the content
// store, and the names that it has there.
type candidate struct {
	desc  ocispec.Descriptor
	doc   document
	names []reference.NamedTagged
}

// Load reads a Docker archive ("docker save", of any age since Docker 1.10) or
// an OCI archive, compressed or not, and records every image in it: all of them,
// or none if one is not in order. From an index it takes the host's platform,
// else the first that the archive contains whole. It returns the images in the
// archive's order, with all the names that they have now.
//
// Events: "Loading layer" with the short diff ID, then for each image "Loaded
// image: NAME" or, for one without name, "Loaded image ID: ID".
func (s *Store) Load(ctx context.Context, r io.Reader, progress Progress) ([]Image, error) {
	list, err := s.loadArchive(s.context(ctx), r, progress.serial())
	if err != nil {
		return nil, fmt.Errorf("cannot load the images: %w", err)
	}
	return list, nil
}

func (s *Store) loadArchive(ctx context.Context, r io.Reader, progress Progress) ([]Image, error) {
	ctx, op, err := s.begin(ctx, "load", "")
	if err != nil {
		return nil, err
	}
	defer op.end(ctx, false)
	plain, err := Decompress(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	defer plain.Close()
	a, err := s.readArchive(ctx, op, plain)
	if err != nil {
		return nil, err
	}
	found, err := a.candidates(ctx)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no image in the archive: %w", errdefs.ErrInvalidArgument)
	}
	var loaded []*parsed
	for _, c := range found {
		p, err := s.admit(ctx, op, c, progress)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, p)
	}
	var list []Image
	for i, p := range loaded {
		var names []string
		for _, n := range found[i].names {
			names = append(names, n.String())
		}
		if err := s.publish(ctx, p, names...); err != nil {
			return nil, err
		}
		for _, n := range found[i].names {
			progress.status("", "Loaded image: "+reference.FamiliarString(n))
		}
		if len(names) == 0 {
			progress.status("", "Loaded image ID: "+p.id.String())
		}
	}
	for _, p := range loaded {
		img, err := s.published(ctx, p)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o Image) bool { return o.ID == img.ID }) {
			list = append(list, img)
		}
	}
	return list, nil
}

// admit makes of a candidate an image that is ready but for its record.
func (s *Store) admit(ctx context.Context, op *operation, c candidate, progress Progress) (*parsed, error) {
	if err := checkManifest(c.doc); err != nil {
		return nil, err
	}
	raw, err := s.readBlob(ctx, c.desc.Digest, maxManifest)
	if err != nil {
		return nil, err
	}
	if err := s.store(ctx, c.desc, raw, nil); err != nil {
		return nil, err
	}
	p, err := s.load(ctx, c.desc)
	if err != nil {
		return nil, err
	}
	if err := s.store(ctx, c.desc, raw, s.gcLabels(c.doc, p.config.RootFS.DiffIDs)); err != nil {
		return nil, err
	}
	if err := op.pin(ctx, p.content()...); err != nil {
		return nil, err
	}
	for i, diff := range p.config.RootFS.DiffIDs {
		if _, err := s.layers.Get(diff); err == nil && s.holds(ctx, p.layers[i].Digest, diff) {
			continue
		}
		count := &counter{progress: progress, id: short(diff), status: statusLoading}
		if err := s.unpack(ctx, p.layers[i], diff, count); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// candidates lists the images of an archive. One that is both a Docker and an
// OCI archive is read as the latter, whose manifests have digests.
func (a *files) candidates(ctx context.Context) ([]candidate, error) {
	if _, ok := a.file(ocispec.ImageLayoutFile); ok {
		return a.oci(ctx)
	}
	if _, ok := a.file("manifest.json"); ok {
		return a.docker(ctx)
	}
	return nil, fmt.Errorf("this is neither a Docker nor an OCI archive; `abode import` takes the tar of a root file system: %w", errdefs.ErrInvalidArgument)
}
