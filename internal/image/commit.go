package image

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions say what Commit makes of a base and a layer.
type CommitOptions struct {
	Ref             string // the new image's name; may be empty
	Config          dockerspec.DockerOCIImageConfig
	Changes         []string // Dockerfile instructions (changes.go) for the config
	Author, Message string
	CreatedBy       string // for the history
}

// emptyTar is the digest of a tar without entries.
const emptyTar = digest.Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")

// Commit makes an image of the image base, which may be one that is kept only for
// its containers, and the tar of one more layer. A tar without entries adds none.
func (s *Store) Commit(ctx context.Context, base digest.Digest, tar io.Reader, opts CommitOptions) (Image, error) {
	img, err := s.commit(s.context(ctx), base, tar, opts)
	if err != nil {
		return Image{}, fmt.Errorf("cannot commit the image: %w", err)
	}
	return img, nil
}

func (s *Store) commit(ctx context.Context, base digest.Digest, tar io.Reader, opts CommitOptions) (Image, error) {
	var names []string
	if opts.Ref != "" {
		tag, err := parseTag(opts.Ref)
		if err != nil {
			return Image{}, err
		}
		names = []string{reference.TagNameOnly(tag).String()}
	}
	ctx, op, err := s.begin(ctx, "commit", "")
	if err != nil {
		return Image{}, err
	}
	defer op.end(ctx, false)
	c, err := s.catalog(ctx)
	if err != nil {
		return Image{}, err
	}
	e := c.entries[base]
	if e == nil {
		e = c.kept[base]
	}
	if e == nil {
		return Image{}, fmt.Errorf("the container's image %s is gone: %w", short(base), errdefs.ErrNotFound)
	}
	p, err := s.load(ctx, e.target)
	if err != nil {
		return Image{}, err
	}
	if err := op.pin(ctx, p.content()...); err != nil {
		return Image{}, err
	}
	now := time.Now().UTC()
	config := clone(p.config)
	config.Created, config.Author, config.Config = &now, opts.Author, opts.Config
	if err := applyChanges(&config, opts.Changes); err != nil {
		return Image{}, err
	}
	if len(p.layers) >= maxLayers {
		return Image{}, fmt.Errorf("the image has %d layers already, and no more can be stacked; flatten it with `export` and `import`: %w", len(p.layers), errdefs.ErrFailedPrecondition)
	}
	layers := append([]ocispec.Descriptor(nil), p.layers...)
	blob, diff, err := s.importLayer(ctx, op, tar)
	if err != nil {
		return Image{}, err
	}
	if diff != emptyTar {
		layers = append(layers, blob)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
	}
	config.History = append(config.History, ocispec.History{
		Created: &now, CreatedBy: opts.CreatedBy, Author: opts.Author, Comment: opts.Message, EmptyLayer: diff == emptyTar,
	})
	m, err := s.compose(ctx, config, layers)
	if err != nil {
		return Image{}, err
	}
	if err := s.publish(ctx, m, names...); err != nil {
		return Image{}, err
	}
	return s.published(ctx, m)
}
