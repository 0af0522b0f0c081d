package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Import makes an image of one layer from the tar of a root file system, which
// may be compressed. ref, if not empty, is its name. changes are Dockerfile
// instructions (changes.go) for the config, message goes into the history, and
// platform ("" is the host's) into the config.
func (s *Store) Import(ctx context.Context, r io.Reader, ref string, changes []string, message, platform string) (Image, error) {
	img, err := s.importTar(s.context(ctx), r, ref, changes, message, platform)
	if err != nil {
		return Image{}, fmt.Errorf("cannot import the image: %w", err)
	}
	return img, nil
}

func (s *Store) importTar(ctx context.Context, r io.Reader, ref string, changes []string, message, platform string) (Image, error) {
	var tag reference.NamedTagged
	var err error
	if ref != "" {
		if tag, err = parseTag(ref); err != nil {
			return Image{}, err
		}
	}
	w, err := parsePlatform(platform)
	if err != nil {
		return Image{}, err
	}
	now := time.Now().UTC()
	var config ImageConfig
	config.Platform = platforms.Normalize(w.spec)
	config.Created = &now
	if err := applyChanges(&config, changes); err != nil {
		return Image{}, err
	}
	ctx, op, err := s.begin(ctx, "import", "")
	if err != nil {
		return Image{}, err
	}
	defer op.end(ctx, false)
	blob, diff, err := s.importLayer(ctx, op, r)
	if err != nil {
		return Image{}, err
	}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
	config.History = []ocispec.History{{Created: &now, Comment: message}}
	p, err := s.compose(ctx, config, []ocispec.Descriptor{blob})
	if err != nil {
		return Image{}, err
	}
	var names []string
	if tag != nil {
		names = append(names, tag.String())
	}
	if err := s.publish(ctx, p, names...); err != nil {
		return Image{}, err
	}
	return s.published(ctx, p)
}

// importLayer makes a layer of r. It returns what a manifest says of its tar,
// which the layer can make again.
func (s *Store) importLayer(ctx context.Context, op *operation, r io.Reader) (blob ocispec.Descriptor, diff digest.Digest, err error) {
	tar, err := Decompress(&contextReader{ctx: ctx, r: r})
	if err != nil {
		return blob, "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	defer tar.Close()
	l, err := s.layers.AddUnknown(ctx, tar, func(d digest.Digest) error { return op.pin(ctx, d) })
	if err != nil {
		return blob, "", err
	}
	blob = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: l.DiffID, Size: l.Tar}
	return blob, l.DiffID, nil
}

// compose stores config and manifest of an image whose layers are there.
func (s *Store) compose(ctx context.Context, config ImageConfig, layers []ocispec.Descriptor) (*parsed, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxConfig {
		return nil, fmt.Errorf("the image's config would have %d bytes, more than the %d that are possible: %w", len(raw), maxConfig, errdefs.ErrInvalidArgument)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    describe(ocispec.MediaTypeImageConfig, raw),
		Layers:    layers,
	}
	if err := s.store(ctx, m.Config, raw, nil); err != nil {
		return nil, err
	}
	desc, err := s.storeManifest(ctx, m)
	if err != nil {
		return nil, err
	}
	return s.load(ctx, desc)
}

// describe returns the descriptor of a document.
func describe(mediaType string, raw []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}
