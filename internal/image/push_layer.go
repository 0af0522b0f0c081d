package image

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// prepare returns the manifest that is pushed: the first form of which all layers
// are at hand, else one that is made for the purpose.
func (p *pusher) prepare(ctx context.Context, forms []form) (*parsed, error) {
	diffs := forms[0].config.RootFS.DiffIDs
	for _, d := range unique(diffs) {
		p.progress(Event{ID: short(d), Status: statusPreparing})
	}
	for _, f := range forms {
		whole := true
		for i := 0; whole && i < len(f.layers); i++ {
			var err error
			if whole, err = p.atHand(ctx, f, i); err != nil {
				return nil, err
			}
		}
		if whole {
			return f.parsed, nil
		}
	}
	layers := make([]ocispec.Descriptor, len(diffs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for i := range diffs {
		group.Go(func() (err error) {
			layers[i], err = p.chosen(gctx, forms, i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	config, err := p.s.content.Info(ctx, forms[0].id)
	if err != nil {
		return nil, localError{err}
	}
	desc, err := p.s.storeManifest(ctx, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: forms[0].id, Size: config.Size},
		Layers:    layers,
	})
	if err != nil {
		return nil, localError{err}
	}
	m, err := p.s.load(ctx, desc)
	if err != nil {
		return nil, localError{err}
	}
	return m, nil
}

// atHand says whether the blob of a layer need not be made: it is here, or in the
// registry. Plain tars count if they came so; those of an image that was made
// here are sent compressed.
func (p *pusher) atHand(ctx context.Context, f form, i int) (bool, error) {
	if _, err := p.s.content.Info(ctx, f.layers[i].Digest); err == nil {
		return true, nil
	}
	if !f.public {
		return false, nil
	}
	if diff := f.config.RootFS.DiffIDs[i]; f.layers[i].Digest == diff {
		l, err := p.s.layers.Get(diff)
		return err == nil && l.Tar > 0, nil
	}
	return p.has(ctx, f.layers[i])
}

// has says whether the registry has a blob of a layer, in the repository or in
// another from which it was mounted now.
func (p *pusher) has(ctx context.Context, blob ocispec.Descriptor) (there bool, err error) {
	err = p.s.retry(ctx, func() (int64, error) {
		there = false
		ctx, cancel := context.WithCancel(ctx) // which ends an upload that was begun
		defer cancel()
		w, err := p.to.Push(ctx, p.mountable(blob))
		if errdefs.IsAlreadyExists(err) {
			there, err = true, nil
		} else if err == nil {
			w.Close()
		}
		return 0, err
	})
	return there, err
}

// mountable adds to a layer's descriptor from where it may be mounted.
func (p *pusher) mountable(blob ocispec.Descriptor) ocispec.Descriptor {
	blob.Annotations = p.sources
	return blob
}

// chosen returns the blob of a layer for a manifest that is made: one of an
// earlier form that is at hand, else it is compressed.
func (p *pusher) chosen(ctx context.Context, forms []form, i int) (ocispec.Descriptor, error) {
	diff := forms[0].config.RootFS.DiffIDs[i]
	for _, f := range forms {
		mediaType, ok := ociLayers[f.layers[i].MediaType]
		if !ok || f.layers[i].Digest == diff {
			continue
		}
		_, err := p.s.content.Info(ctx, f.layers[i].Digest)
		found := err == nil
		if !found {
			if found, err = p.has(ctx, f.layers[i]); err != nil {
				return ocispec.Descriptor{}, err
			}
		}
		if found {
			return ocispec.Descriptor{MediaType: mediaType, Digest: f.layers[i].Digest, Size: f.layers[i].Size}, nil
		}
	}
	desc, err := p.s.compressed(ctx, fmt.Sprintf("%s-%d", p.op.lease.ID, i), diff, func(w io.Writer) (io.WriteCloser, error) {
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	})
	desc.MediaType = ocispec.MediaTypeImageLayerGzip
	return desc, err
}

// ociLayers are the types of layers in manifests of OCI's form.
var ociLayers = map[string]string{
	images.MediaTypeDockerSchema2LayerGzip: ocispec.MediaTypeImageLayerGzip,
	images.MediaTypeDockerSchema2LayerZstd: ocispec.MediaTypeImageLayerZstd,
	ocispec.MediaTypeImageLayerGzip:        ocispec.MediaTypeImageLayerGzip,
	ocispec.MediaTypeImageLayerZstd:        ocispec.MediaTypeImageLayerZstd,
}

// compressed stores the tar of a layer as a blob, written through what with
// returns. The same tar makes the same blob. ref must be new.
func (s *Store) compressed(ctx context.Context, ref string, diff digest.Digest, with func(io.Writer) (io.WriteCloser, error)) (ocispec.Descriptor, error) {
	r, w := io.Pipe()
	made := make(chan struct{})
	go func() {
		defer close(made)
		z, err := with(w)
		if err == nil {
			err = s.layers.WriteTar(ctx, z, diff)
		}
		if err == nil {
			err = z.Close()
		}
		w.CloseWithError(err)
	}()
	desc, err := s.ingest(ctx, ref, r)
	r.Close()
	<-made
	if err != nil {
		err = localError{fmt.Errorf("layer %s: %w; pull or load the image again", short(diff), err)}
	}
	return desc, err
}

// layer sends the blob of a layer, unless the registry has it.
func (p *pusher) layer(ctx context.Context, blob ocispec.Descriptor, diff digest.Digest) error {
	id := short(diff)
	if _, err := p.s.content.Info(ctx, blob.Digest); err != nil && blob.Digest == diff {
		there, err := p.has(ctx, blob)
		if err == nil && !there {
			_, err = p.s.compressed(ctx, p.op.lease.ID+"-"+diff.Encoded(), diff, func(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil })
		}
		if err != nil {
			return err
		}
	}
	status, err := p.upload(ctx, p.mountable(blob), &counter{progress: p.progress, id: id, status: statusPushing, total: blob.Size})
	if err == nil {
		p.progress.status(id, status)
	}
	return err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// upload sends a blob or manifest of the content store, and returns what has
// become of it. count may be nil.
func (p *pusher) upload(ctx context.Context, desc ocispec.Descriptor, count *counter) (status string, err error) {
	err = p.s.retry(ctx, func() (int64, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w, err := p.to.Push(ctx, desc)
		if errdefs.IsAlreadyExists(err) {
			status = p.present(ctx, desc)
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		defer w.Close()
		ra, err := p.s.content.ReaderAt(ctx, desc)
		if err != nil {
			return 0, localError{err}
		}
		defer ra.Close()
		from := &sentBlob{SectionReader: io.NewSectionReader(ra, 0, ra.Size()), count: count}
		if count != nil {
			count.current = 0
		}
		status = statusPushed
		err = content.Copy(ctx, w, from, desc.Size, desc.Digest)
		return from.n, err
	})
	return status, err
}

// present says why a layer was not sent.
func (p *pusher) present(ctx context.Context, desc ocispec.Descriptor) string {
	st, err := p.remote.tracker.GetStatus(remotes.MakeRefKey(ctx, desc))
	switch {
	case err != nil || st.Exists:
		return statusThere
	case st.MountedFrom != "":
		return statusMounted + strings.TrimPrefix(st.MountedFrom, strings.SplitN(st.MountedFrom, "/", 2)[0]+"/")
	}
	return statusPushed // by the same push: another layer is the same blob
}

// A sentBlob counts what is read of it. It can be read again from anywhere.
type sentBlob struct {
	*io.SectionReader
	count *counter
	n     int64
}

func (b *sentBlob) Read(p []byte) (int, error) {
	n, err := b.SectionReader.Read(p)
	b.n += int64(n)
	if b.count != nil && n > 0 {
		b.count.add(n)
	}
	return n, err
}
