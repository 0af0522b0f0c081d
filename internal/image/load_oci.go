package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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
