package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// downloads is how many layers of one image are brought at a time.
const downloads = 3

// Pull brings the image that ref names, for the given platform ("" is the
// host's), from its registry, and returns it when it is complete and recorded.
// auth may be nil. A pull that breaks off, by ctx or by the network, is resumed
// by the next one of the same name and platform; one that fails in any other
// way leaves nothing behind. Concurrent pulls share their downloads.
func (s *Store) Pull(ctx context.Context, ref, platform string, auth *registry.AuthConfig, progress Progress) (Image, error) {
	img, err := s.pull(s.context(ctx), ref, platform, auth, progress.serial())
	if err != nil {
		return Image{}, fmt.Errorf("cannot pull %s: %w", clean(ref), err)
	}
	return img, nil
}

func (s *Store) pull(ctx context.Context, ref, platform string, auth *registry.AuthConfig, progress Progress) (_ Image, err error) {
	name, err := recordName(ref)
	if err != nil {
		return Image{}, err
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Image{}, err
	}
	w, err := parsePlatform(platform)
	if err != nil {
		return Image{}, err
	}
	r, err := s.remote(ctx, named, auth, false)
	if err != nil {
		return Image{}, err
	}
	defer r.close()
	ctx, op, err := s.begin(ctx, "pull", name+" "+platform)
	if err != nil {
		return Image{}, err
	}
	defer func() { op.end(ctx, err != nil && resumable(ctx, err)) }()

	p := puller{s: s, op: op, remote: r, wish: w, progress: progress}
	_, top, err := r.resolver.Resolve(ctx, name)
	if err != nil {
		return Image{}, r.explain(err)
	}
	if p.fetcher, err = r.resolver.Fetcher(ctx, name); err != nil {
		return Image{}, r.explain(err)
	}
	m, err := p.manifest(ctx, top, false, 0)
	if err != nil {
		return Image{}, err
	}
	progress(Event{ID: refPart(named), Status: "Pulling from " + reference.Path(named)})
	if err := p.layers(ctx, m); err != nil {
		return Image{}, err
	}
	return s.finishPull(ctx, named, top.Digest, m, progress)
}

// finishPull records what was pulled.
func (s *Store) finishPull(ctx context.Context, ref reference.Named, top digest.Digest, m *parsed, progress Progress) (Image, error) {
	byDigest, err := reference.WithDigest(reference.TrimNamed(ref), top)
	if err != nil {
		return Image{}, err
	}
	before, err := s.catalog(ctx)
	if err != nil {
		return Image{}, err
	}
	if err := s.publish(ctx, m, unique([]string{ref.String(), byDigest.String()})...); err != nil {
		return Image{}, err
	}
	progress.status("", "Digest: "+top.String())
	outcome := "Downloaded newer image for "
	if old, ok := before.names[ref.String()]; ok && old.id == m.id {
		outcome = "Image is up to date for "
	}
	progress.status("", "Status: "+outcome+reference.FamiliarString(ref))
	return s.published(ctx, m)
}

// refPart is the tag or the digest of ref.
func refPart(ref reference.Named) string {
	switch ref := ref.(type) {
	case reference.Canonical:
		return ref.Digest().String()
	case reference.NamedTagged:
		return ref.Tag()
	}
	return ""
}

// resumable says whether a pull that failed with err can be resumed: it was
// ended, or the registry did not answer.
func resumable(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errdefs.IsUnavailable(err) && !errors.Is(err, errVerify)
}

// A puller brings the content of one image.
type puller struct {
	s        *Store
	op       *operation
	remote   *remote
	fetcher  remotes.Fetcher
	wish     wish
	progress Progress
}

// manifest fetches the manifest and the config of the wished platform, and
// stores them. When an index has chosen the manifest, what the config says of
// the platform does not count: in some images it is wrong.
func (p *puller) manifest(ctx context.Context, desc ocispec.Descriptor, chosen bool, depth int) (*parsed, error) {
	if !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) {
		desc.MediaType = ocispec.MediaTypeImageManifest // else it is fetched as a blob
	}
	raw, err := p.s.fetchSmall(ctx, p.fetcher, desc, maxManifest)
	if err != nil {
		return nil, p.remote.explain(err)
	}
	doc, mediaType, err := parseDocument(raw, desc.MediaType)
	if err != nil {
		return nil, err
	}
	if images.IsIndexType(mediaType) {
		return p.index(ctx, doc, depth)
	}
	if err := checkManifest(doc); err != nil {
		return nil, err
	}
	rawConfig, err := p.s.fetchSmall(ctx, p.fetcher, *doc.Config, maxConfig)
	if err != nil {
		return nil, p.remote.explain(err)
	}
	config, err := parseConfig(rawConfig, len(doc.Layers))
	if err != nil {
		return nil, err
	}
	if !chosen && !p.wish.fits(config) {
		return nil, p.wish.refuse(config.Platform)
	}
	m := &parsed{
		desc:   ocispec.Descriptor{MediaType: mediaType, Digest: desc.Digest, Size: int64(len(raw))},
		id:     doc.Config.Digest,
		layers: doc.Layers,
		config: config,
	}
	if err := p.op.pin(ctx, m.content()...); err != nil {
		return nil, err
	}
	if err := p.s.store(ctx, *doc.Config, rawConfig, nil); err != nil {
		return nil, err
	}
	return m, p.s.store(ctx, m.desc, raw, p.s.gcLabels(doc, config.RootFS.DiffIDs))
}

// index goes on with the manifest in an index that suits best.
func (p *puller) index(ctx context.Context, doc document, depth int) (*parsed, error) {
	if depth == maxIndexDepth {
		return nil, fmt.Errorf("indexes lie more than %d deep: %w", maxIndexDepth, errdefs.ErrInvalidArgument)
	}
	fit := p.wish.choose(doc.Manifests)
	if len(fit) == 0 {
		return nil, p.wish.refuse(platformsOf(doc.Manifests)...)
	}
	if err := checkBlob(fit[0], maxManifest); err != nil {
		return nil, err
	}
	return p.manifest(ctx, fit[0], fit[0].Platform != nil, depth+1)
}

// layers downloads and unpacks the layers, several at a time. A layer that
// occurs more than once is brought once.
func (p *puller) layers(ctx context.Context, m *parsed) error {
	type pair struct{ blob, diff digest.Digest }
	var seen []pair
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, downloads)
	for i, blob := range m.layers {
		diff := m.config.RootFS.DiffIDs[i]
		if slices.Contains(seen, pair{blob.Digest, diff}) {
			continue
		}
		seen = append(seen, pair{blob.Digest, diff})
		id := short(blob.Digest)
		if p.s.ready(ctx, blob.Digest, diff) {
			p.progress.status(id, statusExists)
			continue
		}
		p.progress.status(id, statusPulling)
		group.Go(func() error {
			err := slot(ctx, slots, func() { p.progress.status(id, statusWaiting) }, func() error {
				return p.s.fetchLayer(ctx, p.fetcher, blob, diff, id, p.progress)
			})
			if err != nil {
				return p.remote.explain(err)
			}
			p.progress.status(id, statusVerifying)
			p.progress.status(id, statusDownloaded)
			p.progress.status(id, statusPullComplete)
			return nil
		})
	}
	return group.Wait()
}

// slot runs f when there is room in slots; wait is called first if there is
// none at once.
func slot(ctx context.Context, slots chan struct{}, wait func(), f func() error) error {
	select {
	case slots <- struct{}{}:
	default:
		wait()
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { <-slots }()
	return f()
}
