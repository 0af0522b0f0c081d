package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// How often a blob is tried: that many times without a byte more than before,
// and that many times at all, so that a registry which sends single bytes
// cannot keep us for ever.
const (
	maxIdleAttempts = 5
	maxAttempts     = 64
)

// retry calls attempt until it succeeds, fails for good, or has failed too
// often. attempt returns how many bytes it has brought.
func (s *Store) retry(ctx context.Context, attempt func() (int64, error)) error {
	idle := 0
	for i := 0; ; i++ {
		n, err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if idle++; n > 0 {
			idle = 0
		}
		if !transient(err) || idle >= maxIdleAttempts || i >= maxAttempts {
			return err
		}
		s.log.Debug("a transfer broke off and is resumed", "bytes", n, "error", err)
		select {
		case <-time.After(s.backoff << idle):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fetchSmall returns a manifest or config, at most limit bytes, verified.
func (s *Store) fetchSmall(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if err := checkDigest(desc.Digest); err != nil {
		return nil, err
	}
	if desc.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are possible: %w", short(desc.Digest), desc.Size, limit, errdefs.ErrInvalidArgument)
	}
	if raw, err := s.readBlob(ctx, desc.Digest, limit); err == nil {
		return raw, nil
	}
	var raw []byte
	err := s.retry(ctx, func() (int64, error) {
		r, err := f.Fetch(ctx, desc)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		raw, err = io.ReadAll(io.LimitReader(r, limit+1))
		return 0, err
	})
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit || digest.FromBytes(raw) != desc.Digest {
		return nil, fmt.Errorf("what the registry sends for %s is something else; pull again, or tell who runs the registry: %w: %w", short(desc.Digest), errVerify, errdefs.ErrDataLoss)
	}
	return raw, nil
}

// store writes a small blob that has been verified, and puts labels on it.
func (s *Store) store(ctx context.Context, desc ocispec.Descriptor, raw []byte, labels map[string]string) error {
	desc.Size = int64(len(raw))
	err := content.WriteBlob(ctx, s.content, ingestRef(desc.Digest), bytes.NewReader(raw), desc, content.WithLabels(labels))
	if err == nil && labels != nil {
		// It may have been there before, without them.
		_, err = s.content.Update(ctx, content.Info{Digest: desc.Digest, Labels: labels}, "labels")
	}
	if err != nil {
		return fmt.Errorf("cannot store %s: %w", short(desc.Digest), err)
	}
	return nil
}

// ingestRef names the unfinished download of a blob. It is the same in every
// pull, so that each resumes what another began.
func ingestRef(d digest.Digest) string { return "blob-" + d.String() }

// A transfer brings the blob of a layer, in one or several attempts.
type transfer struct {
	s        *Store
	f        remotes.Fetcher
	desc     ocispec.Descriptor
	id       string
	progress Progress
	// stream unpacks what comes. Without it the blob is kept.
	stream   *stream
	unpacked bool // whether it did
	fresh    bool // whether all bytes came within this transfer
}

// fetch brings the blob, verified, into the content store or to the stream. It
// goes on where an earlier attempt, also of another pull, has stopped.
func (t *transfer) fetch(ctx context.Context) error {
	ctx = context.WithValue(ctx, largeBody{}, true)
	attempt := func() (int64, error) { return t.attempt(ctx) }
	err := t.s.retry(ctx, attempt)
	if errors.Is(err, errVerify) && !t.fresh {
		// What an earlier pull had left may have been damaged, say by a power
		// cut: once more, from the beginning.
		err = t.s.retry(ctx, attempt)
	}
	if err != nil {
		t.abandon(err)
	}
	return err
}

// attempt downloads what is missing and finishes the blob. It returns how many
// bytes have come.
func (t *transfer) attempt(ctx context.Context) (int64, error) {
	w, err := content.OpenWriter(ctx, t.s.content, content.WithRef(ingestRef(t.desc.Digest)), content.WithDescriptor(t.desc))
	if errdefs.IsAlreadyExists(err) {
		t.abandon(errAbandoned)
		return 0, nil
	}
	if err != nil {
		return 0, localError{fmt.Errorf("cannot write to the image store: %w", err)}
	}
	defer w.Close()
	st, err := w.Status()
	if err != nil {
		return 0, localError{err}
	}
	if st.Offset > t.desc.Size {
		if err := w.Truncate(0); err != nil {
			return 0, localError{err}
		}
		st.Offset = 0
	}
	if st.Offset == 0 {
		t.fresh = true
	}
	if t.stream != nil && t.stream.n != st.Offset {
		// An earlier pull has brought the beginning: the blob is completed, and
		// unpacked then.
		t.abandon(errAbandoned)
	}
	n, err := t.copy(ctx, w, st.Offset)
	switch {
	case err != nil:
	case t.stream != nil:
		err = t.finish(w)
		t.discard(ctx, w)
	default:
		if err = t.commit(ctx, w); errors.Is(err, errVerify) {
			t.discard(ctx, w)
		}
	}
	return n, err
}

// commit puts the blob into the content store.
func (t *transfer) commit(ctx context.Context, w content.Writer) error {
	err := w.Commit(ctx, t.desc.Size, t.desc.Digest)
	switch {
	case errdefs.IsAlreadyExists(err):
		return nil
	case errdefs.IsFailedPrecondition(err):
		return t.wrong()
	case err != nil:
		return localError{fmt.Errorf("cannot write to the image store: %w", err)}
	}
	return nil
}

// copy writes to w what follows offset.
func (t *transfer) copy(ctx context.Context, w io.Writer, offset int64) (int64, error) {
	left := t.desc.Size - offset
	count := &counter{progress: t.progress, id: t.id, status: statusDownloading, total: t.desc.Size, current: offset}
	if left == 0 {
		return 0, nil
	}
	r, err := t.f.Fetch(ctx, t.desc)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	seeker, ok := r.(io.Seeker)
	if !ok {
		return 0, localError{fmt.Errorf("cannot resume: %w", errdefs.ErrNotImplemented)}
	}
	if _, err := seeker.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	buf := make([]byte, 128<<10)
	to := io.Writer(onlyWriter{w})
	if t.stream != nil {
		to = io.MultiWriter(to, t.stream)
	}
	n, err := io.CopyBuffer(to, count.reader(io.LimitReader(r, left)), buf)
	if err == nil && n < left {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// onlyWriter marks write errors as those of this machine.
type onlyWriter struct{ w io.Writer }

func (o onlyWriter) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = localError{fmt.Errorf("cannot write to the image store: %w", err)}
	}
	return n, err
}
