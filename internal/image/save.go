package image

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images to an archive that is both an OCI and a Docker archive.
// A reference puts its name into it, one without a tag all tags of the
// repository, and an ID none.
//
// Layers are plain tars, which the layer store makes again; they have the digests
// that the config names. So the manifest is another one than the registry's,
// unless its layers were plain tars, too. Layers of an earlier version of the
// engine, whose blobs were kept, stay as they were pulled, except that those in
// zstd, which Docker before 23 cannot read, become plain.
func (s *Store) Save(ctx context.Context, w io.Writer, refs []string) error {
	ctx = s.context(ctx)
	if len(refs) == 0 {
		return fmt.Errorf("cannot save: name at least one image: %w", errdefs.ErrInvalidArgument)
	}
	if err := s.save(ctx, w, refs); err != nil {
		return fmt.Errorf("cannot save %s: %w", clean(strings.Join(refs, " ")), err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, w io.Writer, refs []string) error {
	ctx, op, err := s.begin(ctx, "save", "")
	if err != nil {
		return err
	}
	defer op.end(ctx, false)
	c, err := s.catalog(ctx)
	if err != nil {
		return err
	}
	// Of several names of one image the manifest of the first is saved.
	names := map[digest.Digest][]string{}
	targets := map[digest.Digest]ocispec.Descriptor{}
	var order []digest.Digest
	for _, ref := range refs {
		picked, err := c.pick(ref)
		if err != nil {
			return err
		}
		for _, e := range picked {
			if _, ok := targets[e.id]; !ok {
				order, targets[e.id] = append(order, e.id), e.target
			}
			if e.name != "" {
				names[e.id] = unique(append(names[e.id], e.name))
			}
		}
	}
	from := &provider{InfoReaderProvider: s.content, layers: s.layers, tars: map[digest.Digest]bool{}}
	var opts []archive.ExportOpt
	for _, id := range order {
		p, err := s.load(ctx, targets[id])
		if err != nil {
			return err
		}
		if err := op.pin(ctx, p.content()...); err != nil {
			return err
		}
		desc, err := s.portable(ctx, op, p, from)
		if err != nil {
			return err
		}
		opts = append(opts, archive.WithManifest(desc, names[id]...))
	}
	return archive.Export(ctx, from, w, opts...)
}

// A pick is an image to be saved, and the name under which it is.
type pick struct {
	id     digest.Digest
	target ocispec.Descriptor
	name   string
}

// pick returns what ref means to Save.
func (c *catalog) pick(ref string) ([]pick, error) {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && reference.IsNameOnly(named) && c.byFullID(ref) == nil {
		var all []pick
		for _, e := range c.entries {
			for _, t := range e.tags {
				if t.Name() == named.Name() {
					all = append(all, pick{e.id, c.names[t.String()].target, t.String()})
				}
			}
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	e, err := c.find(ref)
	if err != nil {
		return nil, err
	}
	p := pick{id: e.id, target: e.target}
	if name, err := recordName(ref); err == nil && !strings.Contains(name, "@") {
		if n, ok := c.names[name]; ok && n.id == e.id {
			p.name = name
		}
	}
	return []pick{p}, nil
}

// portable returns the manifest of an image whose layers from and every tool can
// read: p's own if it is one, else one made for the time of op.
func (s *Store) portable(ctx context.Context, op *operation, p *parsed, from *provider) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: p.id}
	changed := false
	for i, blob := range p.layers {
		l, err := s.portableLayer(ctx, fmt.Sprintf("%s-%d", op.lease.ID, i), blob, p.config.RootFS.DiffIDs[i], from)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("layer %d: %w", i, err)
		}
		changed = changed || l.Digest != blob.Digest || l.Size != blob.Size
		m.Layers = append(m.Layers, l)
	}
	if !changed {
		return p.desc, nil
	}
	config, err := s.content.Info(ctx, p.id)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	m.Config.Size = config.Size
	return s.storeManifest(ctx, m)
}

// portableLayer returns what is saved of a layer. ref must be new.
func (s *Store) portableLayer(ctx context.Context, ref string, l ocispec.Descriptor, diff digest.Digest, from *provider) (ocispec.Descriptor, error) {
	if _, err := s.content.Info(ctx, l.Digest); errdefs.IsNotFound(err) {
		made, err := s.layers.Get(diff)
		if err == nil && made.Tar == 0 {
			err = fmt.Errorf("layer %s cannot make its tar again: %w", short(diff), errdefs.ErrDataLoss)
		}
		if err != nil {
			return l, fmt.Errorf("%w; pull or load the image again", err)
		}
		from.tars[diff] = true
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diff, Size: made.Tar}, nil
	}
	head, err := s.head(ctx, l)
	if err != nil {
		return l, err
	}
	switch detect(head) {
	case zstandard:
		if l, err = s.plainCopy(ctx, ref, l); err != nil {
			return l, err
		}
		if l.Digest != diff {
			return l, fmt.Errorf("it is damaged; pull the image again: %w", errdefs.ErrDataLoss)
		}
	case gzipped:
		l.MediaType = ocispec.MediaTypeImageLayerGzip
	default:
		l.MediaType = ocispec.MediaTypeImageLayer
	}
	return l, nil
}

// plainCopy stores the uncompressed content of a layer as a blob.
func (s *Store) plainCopy(ctx context.Context, ref string, l ocispec.Descriptor) (ocispec.Descriptor, error) {
	ra, err := s.content.ReaderAt(ctx, l)
	if err != nil {
		return l, err
	}
	defer ra.Close()
	r, err := Decompress(io.NewSectionReader(ra, 0, ra.Size()))
	if err != nil {
		return l, err
	}
	defer r.Close()
	desc, err := s.ingest(ctx, ref, &contextReader{ctx: ctx, r: r})
	desc.MediaType = ocispec.MediaTypeImageLayer
	return desc, err
}
