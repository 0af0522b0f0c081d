package image

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker lists the images of a Docker archive, for each of which it makes a
// manifest.
func (a *files) docker(ctx context.Context) ([]candidate, error) {
	raw, err := a.read(ctx, "manifest.json", maxManifest)
	if err != nil {
		return nil, err
	}
	var items []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("manifest.json is not of the right form: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	var found []candidate
	for _, item := range items {
		m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: images.MediaTypeDockerSchema2Manifest}
		if m.Config, err = a.part(ctx, item.Config, true); err != nil {
			return nil, err
		}
		for _, name := range item.Layers {
			l, err := a.part(ctx, name, false)
			if err != nil {
				return nil, err
			}
			m.Layers = append(m.Layers, l)
		}
		c := candidate{doc: document{MediaType: m.MediaType, Config: &m.Config, Layers: m.Layers}}
		if c.desc, err = a.s.storeManifest(ctx, m); err != nil {
			return nil, err
		}
		for _, tag := range item.RepoTags {
			ref, err := parseTag(tag)
			if err != nil {
				return nil, err
			}
			c.names = append(c.names, ref)
		}
		found = append(found, c)
	}
	return found, nil
}

// part describes a file of a Docker archive as part of a manifest.
func (a *files) part(ctx context.Context, name string, config bool) (ocispec.Descriptor, error) {
	d, ok := a.file(name)
	if !ok {
		return d, fmt.Errorf("%q is missing in the archive: %w", clean(name), errdefs.ErrInvalidArgument)
	}
	if config {
		d.MediaType = images.MediaTypeDockerSchema2Config
		return d, nil
	}
	head, err := a.s.head(ctx, d)
	if err != nil {
		return d, err
	}
	d.MediaType = layerType(detect(head))
	return d, nil
}

// layerType is Docker's media type of a layer compressed in that way.
func layerType(c compression) string {
	switch c {
	case gzipped:
		return images.MediaTypeDockerSchema2LayerGzip
	case zstandard:
		return images.MediaTypeDockerSchema2LayerZstd
	default:
		return images.MediaTypeDockerSchema2Layer
	}
}

// storeManifest writes a manifest that was made here. It holds the config; the
// layers are for the caller to hold.
func (s *Store) storeManifest(ctx context.Context, m ocispec.Manifest) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := describe(m.MediaType, raw)
	return desc, s.store(ctx, desc, raw, s.gcLabels(document{Config: &m.Config}, nil))
}
