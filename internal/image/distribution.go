package image

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Distribution describes what ref names in its registry: what it is, and the
// platforms that it is for. Nothing of it is kept. auth may be nil.
func (s *Store) Distribution(ctx context.Context, ref string, auth *registry.AuthConfig) (registry.DistributionInspect, error) {
	d, err := s.distribution(s.context(ctx), ref, auth)
	if err != nil {
		return registry.DistributionInspect{}, fmt.Errorf("cannot inspect %s in its registry: %w", clean(ref), err)
	}
	return d, nil
}

func (s *Store) distribution(ctx context.Context, ref string, auth *registry.AuthConfig) (d registry.DistributionInspect, err error) {
	name, err := recordName(ref)
	if err != nil {
		return d, err
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return d, err
	}
	r, err := s.remote(ctx, named, auth, false)
	if err != nil {
		return d, err
	}
	defer r.close()
	_, top, err := r.resolver.Resolve(ctx, name)
	if err != nil {
		return d, r.explain(err)
	}
	fetcher, err := r.resolver.Fetcher(ctx, name)
	if err != nil {
		return d, r.explain(err)
	}
	raw, err := s.fetchSmall(ctx, fetcher, top, maxManifest)
	if err != nil {
		return d, r.explain(err)
	}
	doc, mediaType, err := parseDocument(raw, top.MediaType)
	if err != nil {
		return d, err
	}
	d.Descriptor = ocispec.Descriptor{MediaType: mediaType, Digest: top.Digest, Size: int64(len(raw))}
	if images.IsIndexType(mediaType) {
		for _, m := range doc.Manifests {
			if m.Platform != nil {
				d.Platforms = append(d.Platforms, *m.Platform)
			}
		}
		return d, nil
	}
	if doc.Config == nil || !images.IsConfigType(doc.Config.MediaType) {
		return d, nil // no image, and for no platform
	}
	if raw, err = s.fetchSmall(ctx, fetcher, *doc.Config, maxConfig); err != nil {
		return d, r.explain(err)
	}
	var config struct{ ocispec.Platform }
	if err := json.Unmarshal(raw, &config); err != nil {
		return d, fmt.Errorf("the image's config is not JSON of the right form: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	d.Platforms = []ocispec.Platform{config.Platform}
	return d, nil
}
