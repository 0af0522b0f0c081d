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

// fetchBlob brings a layer into the content store, verified. It goes on where
// an earlier attempt, also of another pull, has stopped.
func (s *Store) fetchBlob(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor, id string, progress Progress) error {
	unlock, err := s.blobs.lock(ctx, desc.Digest.String())
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.content.Info(ctx, desc.Digest); err == nil {
		return nil
	}
	ctx = context.WithValue(ctx, largeBody{}, true)
	fresh := false // whether all bytes came within this call
	fetch := func() (int64, error) {
		t := transfer{s: s, f: f, desc: desc, count: &counter{progress: progress, id: id, status: statusDownloading, total: desc.Size}}
		n, err := t.run(ctx, &fresh)
		return n, err
	}
	err = s.retry(ctx, fetch)
	if errors.Is(err, errVerify) && !fresh {
		// What an earlier pull had left may have been damaged, say by a power
		// cut: once more, from the beginning.
		err = s.retry(ctx, fetch)
	}
	return err
}

// A transfer is one attempt at a blob.
type transfer struct {
	s     *Store
	f     remotes.Fetcher
	desc  ocispec.Descriptor
	count *counter
}

// run downloads what is missing and commits the blob. It sets fresh when it
// began at the first byte, and returns how many bytes have come.
func (t *transfer) run(ctx context.Context, fresh *bool) (int64, error) {
	ref := ingestRef(t.desc.Digest)
	w, err := content.OpenWriter(ctx, t.s.content, content.WithRef(ref), content.WithDescriptor(t.desc))
	if errdefs.IsAlreadyExists(err) {
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
		*fresh = true
	}
	n, err := t.copy(ctx, w, st.Offset)
	if err == nil {
		err = w.Commit(ctx, t.desc.Size, t.desc.Digest)
		switch {
		case errdefs.IsAlreadyExists(err):
			err = nil
		case errdefs.IsFailedPrecondition(err):
			err = fmt.Errorf("layer %s: what the registry sends is something else; pull again, or tell who runs the registry: %w: %w", short(t.desc.Digest), errVerify, errdefs.ErrDataLoss)
		case err != nil:
			err = localError{fmt.Errorf("cannot write to the image store: %w", err)}
		}
	}
	if errors.Is(err, errVerify) {
		w.Close()
		if aerr := t.s.content.Abort(ctx, ref); aerr != nil && !errdefs.IsNotFound(aerr) {
			t.s.log.Warn("cannot discard a download", "blob", t.desc.Digest, "error", aerr)
		}
	}
	return n, err
}

// copy writes to w what follows offset.
func (t *transfer) copy(ctx context.Context, w io.Writer, offset int64) (int64, error) {
	left := t.desc.Size - offset
	t.count.current = offset
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
	n, err := io.CopyBuffer(onlyWriter{w}, t.count.reader(io.LimitReader(r, left)), buf)
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
