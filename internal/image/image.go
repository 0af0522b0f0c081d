package image

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/layer"
)

// ImageConfig is the config of an image: the OCI one and Docker's additions.
type ImageConfig = dockerspec.DockerOCIImage

// Image is one image for one platform.
type Image struct {
	// ID is the digest of the config.
	ID digest.Digest
	// RepoTags and RepoDigests are the names, in their familiar form, sorted.
	RepoTags, RepoDigests []string
	Manifest              ocispec.Descriptor
	Config                ImageConfig
	// Layers are the unpacked layers, lowest first. List leaves out those that
	// are missing; Get unpacks them again.
	Layers []layer.Layer
	// Size is the sum of the sizes of the layers, in bytes as unpacked.
	Size int64
	// Created is from the config; zero when it does not say.
	Created time.Time
	// Tagged is when the image was given a tag last; zero when it has none.
	Tagged time.Time
}

// parsed is a manifest and its config, as they are in the content store.
type parsed struct {
	desc   ocispec.Descriptor // of the manifest
	id     digest.Digest
	layers []ocispec.Descriptor
	config ImageConfig
}

// parsedCache keeps what was read. Content does not change, so only memory
// matters: it is emptied when what it holds came from maxParsed bytes.
type parsedCache struct {
	mu         sync.Mutex
	size       int
	byManifest map[digest.Digest]*parsed
}

const maxParsed = 16 << 20

func (c *parsedCache) get(d digest.Digest) *parsed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byManifest[d]
}

func (c *parsedCache) put(p *parsed, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size += size; c.byManifest == nil || c.size > maxParsed {
		c.byManifest, c.size = map[digest.Digest]*parsed{}, size
	}
	c.byManifest[p.desc.Digest] = p
}

// load reads a manifest and its config from the content store and checks them.
// The result is shared: it must not be changed.
func (s *Store) load(ctx context.Context, desc ocispec.Descriptor) (*parsed, error) {
	if p := s.parsed.get(desc.Digest); p != nil {
		return p, nil
	}
	raw, err := s.readBlob(ctx, desc.Digest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifest %s: %w", desc.Digest, err)
	}
	doc, mediaType, err := parseDocument(raw, desc.MediaType)
	if err != nil {
		return nil, err
	}
	if err := checkManifest(doc); err != nil {
		return nil, err
	}
	rawConfig, err := s.readBlob(ctx, doc.Config.Digest, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("cannot read the config %s: %w", doc.Config.Digest, err)
	}
	config, err := parseConfig(rawConfig, len(doc.Layers))
	if err != nil {
		return nil, err
	}
	p := &parsed{
		desc:   ocispec.Descriptor{MediaType: mediaType, Digest: desc.Digest, Size: int64(len(raw))},
		id:     doc.Config.Digest,
		layers: doc.Layers,
		config: config,
	}
	s.parsed.put(p, len(raw)+len(rawConfig))
	return p, nil
}

// readBlob returns a blob of the content store that is not larger than limit.
func (s *Store) readBlob(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	r, err := s.content.ReaderAt(ctx, ocispec.Descriptor{Digest: d})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are possible: %w", r.Size(), limit, errdefs.ErrInvalidArgument)
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

// image makes an Image of e. The second result says which layers the layer
// store does not have.
func (s *Store) image(ctx context.Context, e *entry) (Image, []digest.Digest, error) {
	p, err := s.load(ctx, e.target)
	if err != nil {
		return Image{}, nil, fmt.Errorf("image %s: %w", short(e.id), err)
	}
	img := Image{
		ID:          e.id,
		RepoTags:    sorted(e.tags),
		RepoDigests: sorted(e.digests),
		Manifest:    e.target,
		Config:      clone(p.config),
		Tagged:      e.tagged,
	}
	var missing []digest.Digest
	for _, d := range p.config.RootFS.DiffIDs {
		l, err := s.layers.Get(d)
		switch {
		case err == nil:
			img.Layers = append(img.Layers, l)
			img.Size += l.Size
		case errdefs.IsNotFound(err):
			missing = append(missing, d)
		default:
			return Image{}, nil, fmt.Errorf("image %s: %w", short(e.id), err)
		}
	}
	if t := p.config.Created; t != nil {
		img.Created = *t
	}
	return img, missing, nil
}

// List returns all images, newest first.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx = s.context(ctx)
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Image, 0, len(c.entries))
	for _, e := range c.entries {
		img, _, err := s.image(ctx, e)
		if err != nil {
			s.log.Warn("an image cannot be read", "image", e.id, "error", err)
			continue
		}
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b Image) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// clone copies a config, so that callers can change what they are given.
func clone(c ImageConfig) ImageConfig {
	if c.Created != nil {
		created := *c.Created
		c.Created = &created
	}
	c.OSFeatures = slices.Clone(c.OSFeatures)
	c.RootFS.DiffIDs = slices.Clone(c.RootFS.DiffIDs)
	c.History = slices.Clone(c.History)
	r := &c.Config
	for _, s := range []*[]string{&r.Env, &r.Cmd, &r.Entrypoint, &r.OnBuild, &r.Shell} {
		*s = slices.Clone(*s)
	}
	r.Labels, r.Volumes, r.ExposedPorts = maps.Clone(r.Labels), maps.Clone(r.Volumes), maps.Clone(r.ExposedPorts)
	if r.Healthcheck != nil {
		h := *r.Healthcheck
		h.Test = slices.Clone(h.Test)
		r.Healthcheck = &h
	}
	return c
}
