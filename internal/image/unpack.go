package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/layer"
)

// ready says whether a layer need not be brought: it is there, and so is what
// its tar can be made of.
func (s *Store) ready(ctx context.Context, blob, diff digest.Digest) bool {
	l, err := s.layers.Get(diff)
	return err == nil && (l.Tar > 0 || s.holds(ctx, blob, diff))
}

// holds says whether a blob is there, and known to hold the layer.
func (s *Store) holds(ctx context.Context, blob, diff digest.Digest) bool {
	info, err := s.content.Info(ctx, blob)
	return err == nil && info.Labels[labels.LabelUncompressed] == diff.String()
}

// unpack makes of a blob in the content store the layer that the config calls
// diff. The label it leaves on the blob says that the two belong together.
func (s *Store) unpack(ctx context.Context, blob ocispec.Descriptor, diff digest.Digest, count *counter) error {
	ra, err := s.content.ReaderAt(ctx, blob)
	if err != nil {
		return localError{fmt.Errorf("cannot read layer %s: %w", short(blob.Digest), err)}
	}
	defer ra.Close()
	count.total = ra.Size()
	if err := s.unpackFrom(ctx, count.reader(io.NewSectionReader(ra, 0, ra.Size())), blob, diff); err != nil {
		return err
	}
	info := content.Info{Digest: blob.Digest, Labels: map[string]string{labels.LabelUncompressed: diff.String()}}
	if _, err := s.content.Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
		return localError{fmt.Errorf("cannot unpack layer %s: %w", short(blob.Digest), err)}
	}
	return nil
}

// unpackFrom makes of a blob that is read the layer that the config calls diff.
func (s *Store) unpackFrom(ctx context.Context, r io.Reader, blob ocispec.Descriptor, diff digest.Digest) error {
	z, err := Decompress(r)
	if err != nil {
		return fmt.Errorf("cannot unpack layer %s: %w: %w", short(blob.Digest), err, errdefs.ErrInvalidArgument)
	}
	defer z.Close()
	if err := s.addLayer(ctx, z, diff); err != nil {
		return fmt.Errorf("cannot unpack layer %s: %w", short(blob.Digest), err)
	}
	return nil
}

// addLayer puts the tar stream r into the layer store, if it is what the config
// calls diff. If the layer is there already, r is only compared with it.
func (s *Store) addLayer(ctx context.Context, r io.Reader, diff digest.Digest) error {
	tar := &contextReader{ctx: ctx, r: r}
	_, err := s.layers.Add(ctx, tar, diff)
	if errors.Is(err, layer.ErrDigest) {
		return fmt.Errorf("it is not what the image's config says: %w: %w: %w", err, errVerify, errdefs.ErrDataLoss)
	}
	if err != nil || tar.read {
		return err
	}
	got, err := digest.FromReader(tar)
	if err != nil {
		return err
	}
	if got != diff {
		return fmt.Errorf("it contains %s and the image's config says %s: %w: %w", short(got), short(diff), errVerify, errdefs.ErrDataLoss)
	}
	return nil
}

// restore unpacks lost layers of an image again, from their blobs if these were
// kept.
func (s *Store) restore(ctx context.Context, e *entry) error {
	p, err := s.load(ctx, e.target)
	if err != nil {
		return err
	}
	ctx, op, err := s.begin(ctx, "unpack", "")
	if err != nil {
		return err
	}
	defer op.end(ctx, false)
	if err := op.pin(ctx, p.content()...); err != nil {
		return err
	}
	for i, diff := range p.config.RootFS.DiffIDs {
		if _, err := s.layers.Get(diff); err == nil {
			continue
		}
		if _, err := s.content.Info(ctx, p.layers[i].Digest); errdefs.IsNotFound(err) {
			return fmt.Errorf("layer %s is lost: %w", short(diff), errdefs.ErrDataLoss)
		}
		if err := s.unpack(ctx, p.layers[i], diff, &counter{progress: func(Event) {}}); err != nil {
			return err
		}
	}
	return nil
}

// content returns the digests of all that p consists of, blobs and layers.
func (p *parsed) content() []digest.Digest {
	ds := []digest.Digest{p.desc.Digest, p.id}
	for i, l := range p.layers {
		ds = append(ds, l.Digest, p.config.RootFS.DiffIDs[i])
	}
	return unique(ds)
}

// contextReader ends with the context, and knows whether it was read.
type contextReader struct {
	ctx  context.Context
	r    io.Reader
	read bool
}

func (c *contextReader) Read(p []byte) (int, error) {
	c.read = true
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
