package image

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What a registry or an archive may ask of us.
const (
	maxManifest = 4 << 20 // what registries take too
	maxConfig   = 8 << 20
	// maxLayers is what overlayfs can stack from a mount option string of one
	// page, as Docker has it.
	maxLayers = 127
	// maxIndexDepth is how many indexes may lie over a manifest.
	maxIndexDepth = 3
)

// layerTypes are the media types of layers. How a layer is compressed is told
// from its content, as other engines do, for the types of many images are wrong.
var layerTypes = []string{
	images.MediaTypeDockerSchema2Layer,
	images.MediaTypeDockerSchema2LayerGzip,
	images.MediaTypeDockerSchema2LayerZstd,
	ocispec.MediaTypeImageLayer,
	ocispec.MediaTypeImageLayerGzip,
	ocispec.MediaTypeImageLayerZstd,
}

// document is what a manifest or an index may contain, to tell which it is.
type document struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	FSLayers  json.RawMessage      `json:"fsLayers"`
}

// parseDocument reads a manifest or an index. The media type within the
// document counts; said is that of the descriptor or of the HTTP response, for
// documents without one. A document must not be both a manifest and an index.
func parseDocument(raw []byte, said string) (doc document, mediaType string, err error) {
	if err := json.Unmarshal(raw, &doc); err != nil {
		return doc, "", fmt.Errorf("the manifest is not JSON of the right form: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if doc.FSLayers != nil {
		return doc, "", fmt.Errorf("the manifest is of the old Docker schema 1, which is not supported; push the image again with a present-day tool: %w", errdefs.ErrNotImplemented)
	}
	mediaType = doc.MediaType
	if mediaType == "" {
		mediaType = said
	}
	isIndex, isManifest := images.IsIndexType(mediaType), images.IsManifestType(mediaType)
	if !isIndex && !isManifest {
		switch {
		case doc.Manifests != nil:
			isIndex, mediaType = true, ocispec.MediaTypeImageIndex
		case doc.Config != nil:
			isManifest, mediaType = true, ocispec.MediaTypeImageManifest
		default:
			return doc, "", fmt.Errorf("this is neither a manifest nor an index but %q: %w", clean(mediaType), errdefs.ErrInvalidArgument)
		}
	}
	if isIndex && (doc.Config != nil || doc.Layers != nil) || isManifest && doc.Manifests != nil {
		return doc, "", fmt.Errorf("the manifest claims to be several things at once: %w", errdefs.ErrInvalidArgument)
	}
	return doc, mediaType, nil
}

// checkManifest says whether doc, a manifest, is that of an image that can be
// run here.
func checkManifest(doc document) error {
	if doc.Config == nil {
		return fmt.Errorf("the manifest has no config: %w", errdefs.ErrInvalidArgument)
	}
	if t := doc.Config.MediaType; !images.IsConfigType(t) {
		return fmt.Errorf("this is not an image: its config is of type %q: %w", clean(t), errdefs.ErrInvalidArgument)
	}
	if err := checkBlob(*doc.Config, maxConfig); err != nil {
		return err
	}
	if n := len(doc.Layers); n > maxLayers {
		return fmt.Errorf("the image has %d layers and at most %d can be stacked: %w", n, maxLayers, errdefs.ErrInvalidArgument)
	}
	for _, l := range doc.Layers {
		if images.IsNonDistributable(l.MediaType) || len(l.URLs) > 0 {
			return fmt.Errorf("a layer is to be fetched from outside the registry, which is refused; use an image without foreign layers: %w", errdefs.ErrInvalidArgument)
		}
		if !slices.Contains(layerTypes, l.MediaType) {
			return fmt.Errorf("a layer is of the unknown type %q: %w", clean(l.MediaType), errdefs.ErrInvalidArgument)
		}
		if err := checkBlob(l, 1<<62); err != nil {
			return err
		}
	}
	return nil
}

// checkBlob says whether a descriptor from a manifest may be fetched.
func checkBlob(d ocispec.Descriptor, limit int64) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if d.Size <= 0 || d.Size > limit {
		return fmt.Errorf("%s claims a size of %d bytes; from 1 to %d are possible: %w", short(d.Digest), d.Size, limit, errdefs.ErrInvalidArgument)
	}
	return nil
}

// checkDigest accepts SHA-256 alone: image IDs and layers are named by it.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%q is not a digest: %w: %w", clean(d.String()), err, errdefs.ErrInvalidArgument)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digests by %s are not supported, only by sha256: %w", d.Algorithm(), errdefs.ErrInvalidArgument)
	}
	return nil
}

// parseConfig reads the config of an image with that many layers.
func parseConfig(raw []byte, layers int) (dockerspec.DockerOCIImage, error) {
	var c dockerspec.DockerOCIImage
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("the image's config is not JSON of the right form: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if c.OS != "" && c.OS != "linux" {
		return c, fmt.Errorf("the image is for %s, and only linux images can run here: %w", clean(c.OS), errdefs.ErrInvalidArgument)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return c, fmt.Errorf("the image has %d layers and its config knows %d: %w", layers, len(c.RootFS.DiffIDs), errdefs.ErrInvalidArgument)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return c, err
		}
	}
	return c, nil
}

// gcLabels are the labels of a manifest's blob that keep along with it what the
// image needs: the config, and the blobs of layers that an earlier version of
// the engine has written, of which the tar cannot be made again. Blobs of other
// layers go when nothing holds them any more.
func (s *Store) gcLabels(doc document, diffs []digest.Digest) map[string]string {
	labels := map[string]string{"containerd.io/gc.ref.content.config": doc.Config.Digest.String()}
	for i, diff := range diffs {
		if l, err := s.layers.Get(diff); err == nil && l.Tar == 0 {
			labels[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", i)] = doc.Layers[i].Digest.String()
		}
	}
	return labels
}

// clean makes text from outside fit for an error message.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// unique returns the elements of s without repetitions, in order.
func unique[T comparable](s []T) []T {
	var out []T
	for _, e := range s {
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
