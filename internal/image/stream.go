package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// errAbandoned ends a stream whose blob is brought in another way.
var errAbandoned = errors.New("the stream was abandoned")

// A stream unpacks a layer while its blob is downloaded.
type stream struct {
	pipe *pipe
	n    int64 // bytes passed on
	done chan struct{}
	err  error // of the unpacking; valid when done is closed
}

// startStream begins to unpack what is written to the stream, as the layer that
// the config calls diff. The caller must end it.
func (s *Store) startStream(ctx context.Context, blob ocispec.Descriptor, diff digest.Digest) *stream {
	st := &stream{pipe: newPipe(), done: make(chan struct{})}
	go func() {
		defer close(st.done)
		defer st.pipe.closeRead()
		st.err = s.unpackFrom(ctx, st.pipe, blob, diff)
	}()
	return st
}

// Write passes p on. When the unpacking has failed it fails only if this
// machine is to blame: else all of the blob is to come, so that its digest tells
// whether it is what it should be.
func (st *stream) Write(p []byte) (int, error) {
	st.n += int64(len(p))
	st.pipe.write(p)
	select {
	case <-st.done:
		if errno := syscall.Errno(0); errors.As(st.err, &errno) {
			return 0, localError{st.err}
		}
	default:
	}
	return len(p), nil
}

// end says that nothing more comes, because of err, or as all has come when
// that is io.EOF. It returns how the unpacking ended.
func (st *stream) end(err error) error {
	st.pipe.closeWrite(err)
	<-st.done
	return st.err
}

// fetchLayer brings a layer. Its blob is unpacked as it comes and not kept: a
// layer can make its tar again. Until it is whole, what was downloaded is an
// unfinished blob in the content store, with which a later pull can go on.
func (s *Store) fetchLayer(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor, diff digest.Digest, id string, progress Progress) error {
	unlock, err := s.blobs.lock(ctx, desc.Digest.String())
	if err != nil {
		return err
	}
	defer unlock()
	if s.ready(ctx, desc.Digest, diff) { // another pull was faster
		return nil
	}
	t := transfer{s: s, f: f, desc: desc, id: id, progress: progress}
	if _, err := s.content.Info(ctx, desc.Digest); err != nil {
		if l, err := s.layers.Get(diff); err != nil || l.Tar > 0 {
			t.stream = s.startStream(ctx, desc, diff)
		}
		if err := t.fetch(ctx); err != nil || t.unpacked {
			return err
		}
	}
	err = s.unpack(ctx, desc, diff, &counter{progress: progress, id: id, status: statusExtracting})
	if err != nil {
		err = localError{err}
	}
	return err
}

// abandon ends the stream, if there is one; the blob is unpacked when it is
// whole.
func (t *transfer) abandon(err error) {
	if t.stream != nil {
		_ = t.stream.end(err) // it did not end well, and that is known
		t.stream = nil
	}
}

// finish ends the stream after the last byte, and returns when the layer is on
// the disk.
func (t *transfer) finish(w content.Writer) error {
	st := t.stream
	t.stream = nil
	if w.Digest() != t.desc.Digest {
		err := t.wrong()
		_ = st.end(err) // whatever became of it, that is the cause
		return err
	}
	if err := st.end(io.EOF); err != nil {
		return localError{err}
	}
	t.unpacked = true
	return nil
}

// wrong says that the registry has sent something else than the blob.
func (t *transfer) wrong() error {
	return fmt.Errorf("layer %s: what the registry sends is something else; pull again, or tell who runs the registry: %w: %w", short(t.desc.Digest), errVerify, errdefs.ErrDataLoss)
}

// discard removes what was downloaded, and closes w.
func (t *transfer) discard(ctx context.Context, w content.Writer) {
	// Emptied first, for Close has the disk take what is there. A writer that
	// has tried to commit is closed.
	_ = w.Truncate(0)
	w.Close()
	if err := t.s.content.Abort(context.WithoutCancel(ctx), ingestRef(t.desc.Digest)); err != nil && !errdefs.IsNotFound(err) {
		t.s.log.Warn("cannot discard a download", "blob", t.desc.Digest, "error", err)
	}
}
