package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/image-spec/specs-go"
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
	plain, err := decompress(r)
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
		img, err := s.Get(ctx, p.id.String())
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
	if err := s.store(ctx, c.desc, raw, gcLabels(c.doc)); err != nil {
		return nil, err
	}
	p, err := s.load(ctx, c.desc)
	if err != nil {
		return nil, err
	}
	if err := op.pin(ctx, p.content()...); err != nil {
		return nil, err
	}
	for i, diff := range p.config.RootFS.DiffIDs {
		if s.ready(ctx, p.layers[i].Digest, diff) {
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

// oci lists the images of an OCI archive.
func (a *files) oci(ctx context.Context) ([]candidate, error) {
	raw, err := a.read(ctx, ocispec.ImageIndexFile, maxManifest)
	if err != nil {
		return nil, err
	}
	doc, _, err := parseDocument(raw, ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, err
	}
	host, err := parsePlatform("")
	if err != nil {
		return nil, err
	}
	var found []candidate
	for _, d := range doc.Manifests {
		c, err := a.resolve(ctx, d, host, 0)
		if err != nil {
			return nil, err
		}
		name, ok, err := nameOf(d)
		if err != nil {
			return nil, err
		}
		// The same image under another name is an entry of its own.
		i := slices.IndexFunc(found, func(o candidate) bool { return o.desc.Digest == c.desc.Digest })
		if i < 0 {
			i, found = len(found), append(found, c)
		}
		if ok {
			found[i].names = append(found[i].names, name)
		}
	}
	return found, nil
}

// resolve finds the manifest that d or, for an index, the best of its entries
// leads to.
func (a *files) resolve(ctx context.Context, d ocispec.Descriptor, w wish, depth int) (candidate, error) {
	blob, ok := a.blob(d)
	if !ok {
		return candidate{}, fmt.Errorf("the manifest %q is missing in the archive: %w", clean(d.Digest.String()), errdefs.ErrInvalidArgument)
	}
	raw, err := a.s.readBlob(ctx, blob.Digest, maxManifest)
	if err != nil {
		return candidate{}, err
	}
	doc, mediaType, err := parseDocument(raw, d.MediaType)
	if err != nil {
		return candidate{}, err
	}
	blob.MediaType = mediaType
	if !images.IsIndexType(mediaType) {
		return candidate{desc: blob, doc: doc}, nil
	}
	if depth == maxIndexDepth {
		return candidate{}, fmt.Errorf("indexes lie more than %d deep: %w", maxIndexDepth, errdefs.ErrInvalidArgument)
	}
	for _, m := range append(w.choose(doc.Manifests), doc.Manifests...) {
		if _, ok := a.blob(m); ok {
			return a.resolve(ctx, m, w, depth+1)
		}
	}
	return candidate{}, w.refuse()
}

// nameOf returns the name that an entry of an OCI archive's index gives: in
// containerd's annotation, or in the standard's if that has more than a tag.
func nameOf(d ocispec.Descriptor) (reference.NamedTagged, bool, error) {
	name := d.Annotations[images.AnnotationImageName]
	if name == "" {
		name = d.Annotations[ocispec.AnnotationRefName]
		if !strings.ContainsAny(name, "/:") {
			return nil, false, nil
		}
	}
	if strings.Contains(name, "@") {
		return nil, false, nil // known by its digest alone
	}
	ref, err := parseTag(name)
	return ref, err == nil, err
}

// storeManifest writes a manifest that was made here.
func (s *Store) storeManifest(ctx context.Context, m ocispec.Manifest) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := describe(m.MediaType, raw)
	return desc, s.store(ctx, desc, raw, gcLabels(document{Config: &m.Config, Layers: m.Layers}))
}
