package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// uploads is how many layers of one image are prepared and sent at a time.
const uploads = 3

// Pushed is what a push has left in a registry, under a tag.
type Pushed struct {
	Tag    string
	Digest digest.Digest
	Size   int64 // of the manifest
}

// Push sends the image that ref names to its registry: one with a tag this one,
// one without all tags of the repository. auth may be nil.
//
// The manifest is the one that the image came with, if the registry has its
// layers or they are kept here; else another one for the same config, with layers
// as the registry has them or compressed anew. After it the image is known by
// what was pushed, too. What was sent before an error stays in the registry
// without a name, and is not sent again.
func (s *Store) Push(ctx context.Context, ref string, auth *registry.AuthConfig, progress Progress) error {
	ctx = s.context(ctx)
	named, err := parseNamed(ref)
	if err != nil {
		return err
	}
	if _, ok := named.(reference.Digested); ok {
		return fmt.Errorf("cannot push a digest reference; name a tag: %w", errdefs.ErrInvalidArgument)
	}
	progress = progress.serial()
	progress.status("", "The push refers to repository ["+named.Name()+"]")
	c, err := s.catalog(ctx)
	if err != nil {
		return err
	}
	tags, err := c.pushed(named)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := s.push(ctx, c, tag, auth, progress); err != nil {
			return fmt.Errorf("cannot push %s: %w", reference.FamiliarString(tag), err)
		}
	}
	return nil
}

// pushed returns the tags that a push of ref is about.
func (c *catalog) pushed(ref reference.Named) ([]reference.NamedTagged, error) {
	var tags []reference.NamedTagged
	for _, e := range c.entries {
		for _, t := range e.tags {
			if t.Name() == ref.Name() {
				tags = append(tags, t)
			}
		}
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("An image does not exist locally with the tag: %s: %w", reference.FamiliarName(ref), errdefs.ErrNotFound) //nolint:staticcheck // Docker's words
	}
	if tagged, ok := ref.(reference.NamedTagged); ok {
		if _, ok := c.names[tagged.String()]; !ok {
			return nil, fmt.Errorf("tag does not exist: %s: %w", reference.FamiliarString(ref), errdefs.ErrNotFound)
		}
		return []reference.NamedTagged{tagged}, nil
	}
	slices.SortFunc(tags, func(a, b reference.NamedTagged) int { return cmp.Compare(a.Tag(), b.Tag()) })
	return tags, nil
}

// A pusher sends one image.
type pusher struct {
	s        *Store
	op       *operation
	remote   *remote
	to       remotes.Pusher
	ref      reference.NamedTagged
	sources  map[string]string // annotations that say where layers may be mounted from
	progress Progress
}

func (s *Store) push(ctx context.Context, c *catalog, tag reference.NamedTagged, auth *registry.AuthConfig, progress Progress) error {
	e := c.byName(tag.String())
	r, err := s.remote(ctx, tag, auth, true)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, op, err := s.begin(ctx, "push", "")
	if err != nil {
		return err
	}
	defer op.end(ctx, false)
	p := &pusher{s: s, op: op, remote: r, ref: tag, sources: mountSources(e, tag), progress: progress}
	if p.to, err = r.resolver.Pusher(ctx, tag.String()); err != nil {
		return r.explain(err)
	}
	forms, err := p.forms(ctx, c, e)
	if err != nil {
		return err
	}
	m, err := p.prepare(ctx, forms)
	if err != nil {
		return r.explain(err)
	}
	if err := p.send(ctx, m); err != nil {
		return r.explain(err)
	}
	if err := s.wasPushed(ctx, tag, m); err != nil {
		return err
	}
	progress.status("", fmt.Sprintf("%s: digest: %s size: %d", tag.Tag(), m.desc.Digest, m.desc.Size))
	progress(Event{Pushed: &Pushed{tag.Tag(), m.desc.Digest, m.desc.Size}})
	return nil
}

// mountSources says in which repositories of the same registry the image's
// layers may be, as containerd's pusher is told.
func mountSources(e *entry, to reference.Named) map[string]string {
	var from []string
	for _, d := range e.digests {
		if reference.Domain(d) == reference.Domain(to) && d.Name() != to.Name() {
			from = append(from, reference.Path(d))
		}
	}
	if len(from) == 0 {
		return nil
	}
	host, _, _ := strings.Cut(reference.Domain(to), ":")
	return map[string]string{"containerd.io/distribution.source." + host: strings.Join(unique(from), ",")}
}

// A form is a manifest of the image.
type form struct {
	*parsed
	// public: a registry has or had it, so that it is known by its digest.
	public bool
}

// forms returns the manifests under which the image is known: its tag's first.
func (p *pusher) forms(ctx context.Context, c *catalog, e *entry) ([]form, error) {
	targets, public := []ocispec.Descriptor{e.target}, map[digest.Digest]bool{}
	for _, d := range e.digests {
		t := c.names[d.String()].target
		targets, public[t.Digest] = append(targets, t), true
	}
	var forms []form
	for _, t := range targets {
		if slices.ContainsFunc(forms, func(f form) bool { return f.desc.Digest == t.Digest }) {
			continue
		}
		m, err := p.s.load(ctx, t)
		if err != nil {
			return nil, err
		}
		if err := p.op.pin(ctx, m.content()...); err != nil {
			return nil, err
		}
		forms = append(forms, form{m, public[t.Digest]})
	}
	return forms, nil
}

// send uploads what m consists of, and m itself when all of it is there.
func (p *pusher) send(ctx context.Context, m *parsed) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	var seen []digest.Digest
	for i, blob := range m.layers {
		if slices.Contains(seen, blob.Digest) {
			continue
		}
		seen = append(seen, blob.Digest)
		diff := m.config.RootFS.DiffIDs[i]
		group.Go(func() error { return p.layer(gctx, blob, diff) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	config, err := p.s.content.Info(ctx, m.id)
	if err != nil {
		return localError{err}
	}
	mediaType := ocispec.MediaTypeImageConfig
	if m.desc.MediaType == images.MediaTypeDockerSchema2Manifest {
		mediaType = images.MediaTypeDockerSchema2Config
	}
	for _, d := range []ocispec.Descriptor{{MediaType: mediaType, Digest: m.id, Size: config.Size}, m.desc} {
		if _, err := p.upload(ctx, d, nil); err != nil {
			return err
		}
	}
	return nil
}

// wasPushed makes the image known by the digest that was pushed, if it has not
// been removed meanwhile.
func (s *Store) wasPushed(ctx context.Context, to reference.Named, m *parsed) error {
	name, err := reference.WithDigest(reference.TrimNamed(to), m.desc.Digest)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.catalog(ctx)
	if err != nil || c.entries[m.id] == nil {
		return err
	}
	return s.change(ctx, func(ctx context.Context) error { return s.point(ctx, name.String(), m.desc) })
}
