package image

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/layer"
)

// A provider gives what an archive is made of: blobs of the content store, and
// the tars of layers, which the layers make again.
type provider struct {
	content.InfoReaderProvider
	layers *layer.Store
	tars   map[digest.Digest]bool
}

// ReaderAt implements content.Provider.
func (p *provider) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	if !p.tars[d.Digest] {
		return p.InfoReaderProvider.ReaderAt(ctx, d)
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	t := &layerTar{r: r, size: d.Size, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		b := bufio.NewWriterSize(w, 256<<10)
		err := p.layers.WriteTar(ctx, b, d.Digest)
		if err == nil {
			err = b.Flush()
		}
		w.CloseWithError(err)
	}()
	return t, nil
}

// A layerTar is a tar that is read once, from its beginning. It ends with an
// error when the layer does not make the tar that its digest names.
type layerTar struct {
	r      *io.PipeReader
	size   int64
	cancel context.CancelFunc
	done   chan struct{}
}

// Reader is what content.NewReader asks for.
func (t *layerTar) Reader() io.Reader { return t.r }

// Size implements content.ReaderAt.
func (t *layerTar) Size() int64 { return t.size }

// ReadAt implements content.ReaderAt, whose readers all use Reader.
func (t *layerTar) ReadAt([]byte, int64) (int, error) {
	return 0, fmt.Errorf("a layer's tar is read from its beginning to its end: %w", errdefs.ErrNotImplemented)
}

// Close implements content.ReaderAt.
func (t *layerTar) Close() error {
	t.cancel()
	t.r.Close()
	<-t.done
	return nil
}
