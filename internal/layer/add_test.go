package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
	"github.com/abode-run/abode/internal/layer"
)

// Without a digest, the archive gives it; with it, nothing is read twice.
func TestAddKnown(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	in := archive(t, 1, 5000)
	one, err := s.Add(t.Context(), bytes.NewReader(in), "")
	if err != nil || one.DiffID != digest.FromBytes(in) {
		t.Fatalf("got %v (%v)", one, err)
	}
	before, _ := os.Stat(one.Path)
	two, err := s.Add(t.Context(), failing{errors.New("this was read")}, one.DiffID)
	if err != nil || two != one {
		t.Errorf("got %v (%v)", two, err)
	}
	three, err := s.Add(t.Context(), bytes.NewReader(in), "")
	if err != nil || three != one {
		t.Errorf("got %v (%v)", three, err)
	}
	if after, _ := os.Stat(one.Path); !os.SameFile(before, after) {
		t.Error("the layer was replaced though it was there")
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Bytes behind the archive's end are part of what has the digest.
func TestDigestCoversAll(t *testing.T) {
	s := open(t, t.TempDir())
	in := append(archive(t, 1, 5000), make([]byte, 1<<20)...)
	if _, err := s.Add(t.Context(), bytes.NewReader(in), digest.FromBytes(in)); err != nil {
		t.Error(err)
	}
}

func TestAddFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	in := archive(t, 1, 3<<20)
	good := digest.FromBytes(in)
	other := digest.FromBytes(in[1:])
	broken := errors.New("the line is broken")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		tar  io.Reader
		want digest.Digest
		err  error
	}{
		{"other digest", t.Context(), bytes.NewReader(in), other, layer.ErrDigest},
		{"more behind the end", t.Context(), bytes.NewReader(append(slices.Clone(in), 0)), good, layer.ErrDigest},
		{"cut off", t.Context(), bytes.NewReader(in[:2<<20]), good, erofs.ErrTar},
		{"cut off before the end marker", t.Context(), bytes.NewReader(in[:len(in)-1024]), good, layer.ErrDigest},
		{"cut off before the end marker, no digest", t.Context(), bytes.NewReader(in[:len(in)-1024]), "", errdefs.ErrInvalidArgument},
		{"empty, no digest", t.Context(), bytes.NewReader(nil), "", errdefs.ErrInvalidArgument},
		{"not a tar", t.Context(), strings.NewReader(strings.Repeat("no", 1000)), "", errdefs.ErrInvalidArgument},
		{"broken line", t.Context(), io.MultiReader(bytes.NewReader(in[:1<<20]), failing{broken}), good, broken},
		{"cancelled", cancelled, bytes.NewReader(in), good, context.Canceled},
		{"bad digest", t.Context(), bytes.NewReader(in), "sha256:../../x", errdefs.ErrInvalidArgument},
		{"unknown algorithm", t.Context(), bytes.NewReader(in), "md5:d41d8cd98f00b204e9800998ecf8427e", errdefs.ErrInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Add(c.ctx, c.tar, c.want)
			if !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "cannot ") && !strings.Contains(err.Error(), "not a layer's digest") {
				t.Errorf("the error says %q", err)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
	// None of that is in the way.
	if _, err := s.Add(t.Context(), bytes.NewReader(in), good); err != nil {
		t.Error(err)
	}
}

// A full disk leaves nothing, wherever it was met.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this test mounts a small disk: run it as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := open(t, dir)
	for _, size := range []int{9 << 20, 100 << 20} {
		in := archive(t, 1, size)
		if _, err := s.Add(t.Context(), bytes.NewReader(in), digest.FromBytes(in)); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d bytes: got %v, want ENOSPC", size, err)
		}
		if left := files(t, dir); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	}
	in := archive(t, 1, 7<<20)
	if _, err := s.Add(t.Context(), bytes.NewReader(in), digest.FromBytes(in)); err != nil {
		t.Errorf("what fits: %v", err)
	}
}

// counted counts those of many readers that were read.
type counted struct {
	io.Reader
	once  sync.Once
	total *atomic.Int32
}

func (c *counted) Read(p []byte) (int, error) {
	c.once.Do(func() { c.total.Add(1) })
	return c.Reader.Read(p)
}

func TestConcurrentAdds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const digests, callers = 3, 8
	var reads [digests]atomic.Int32
	var wg sync.WaitGroup
	for i := range digests * callers {
		n := i % digests
		in := archive(t, byte(n), 1<<20)
		wg.Go(func() {
			l, err := s.Add(t.Context(), &counted{Reader: bytes.NewReader(in), total: &reads[n]}, digest.FromBytes(in))
			if err != nil || l.DiffID != digest.FromBytes(in) {
				t.Errorf("got %v (%v)", l, err)
			}
		})
	}
	wg.Wait()
	for n := range reads {
		if got := reads[n].Load(); got != 1 {
			t.Errorf("layer %d was read %d times", n, got)
		}
	}
	if got := files(t, dir); len(got) != digests {
		t.Errorf("left: %q", got)
	}
}

// When the one who adds fails, one who waits takes over.
func TestTakeOver(t *testing.T) {
	s := open(t, t.TempDir())
	in := archive(t, 1, 1<<20)
	want := digest.FromBytes(in)
	r, w := io.Pipe()
	first := make(chan error)
	go func() {
		_, err := s.Add(t.Context(), r, want)
		first <- err
	}()
	if _, err := w.Write(in[:512]); err != nil { // the first is at it
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Add(gone, failing{errors.New("this was read")}, want); !errors.Is(err, context.Canceled) {
		t.Errorf("the one who gave up: got %v", err)
	}
	others := make(chan error)
	for range 3 {
		go func() {
			l, err := s.Add(t.Context(), bytes.NewReader(in), want)
			if err == nil {
				_, err = s.Get(l.DiffID)
			}
			others <- err
		}()
	}
	broken := errors.New("the line is broken")
	w.CloseWithError(broken)
	if err := <-first; !errors.Is(err, broken) {
		t.Errorf("the first: got %v", err)
	}
	for range 3 {
		if err := <-others; err != nil {
			t.Errorf("one of the others: %v", err)
		}
	}
}
