package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/layer"
)

// prose is a tar of a file that can be compressed.
func prose(t testing.TB, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := []byte(strings.Repeat("the same line, again and again\n", size/31+1))[:size]
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "prose", Size: int64(size), Mode: 0o644})
	if _, e := w.Write(data); err == nil {
		err = e
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A layer gives its tar back, and takes less room where the kernel mounts it.
func TestWriteTar(t *testing.T) {
	s := open(t, t.TempDir())
	for _, in := range [][]byte{archive(t, 1, 3<<20), prose(t, 3<<20), append(prose(t, 100), "behind the end"...)} {
		l, err := s.Add(t.Context(), bytes.NewReader(in), "")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := s.WriteTar(t.Context(), &out, l.DiffID); err != nil || !bytes.Equal(out.Bytes(), in) {
			t.Errorf("%d bytes came back of %d (%v)", out.Len(), len(in), err)
		}
		if l.Tar != int64(len(in)) {
			t.Errorf("the tar is said to have %d bytes, and has %d", l.Tar, len(in))
		}
	}
	if l, err := s.Add(t.Context(), bytes.NewReader(prose(t, 8<<20)), ""); err != nil || layer.ReadsCompressed(t.TempDir()) && l.Size > 4<<20 {
		t.Errorf("8 MiB of prose take %d bytes (%v)", l.Size, err)
	}
}

// What was damaged is not taken for the tar, wherever the damage is.
func TestWriteTarDamaged(t *testing.T) {
	s := open(t, t.TempDir())
	in := prose(t, 300_000)
	l, err := s.Add(t.Context(), bytes.NewReader(in), "")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 61 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x15
		if err := os.WriteFile(l.Path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := s.WriteTar(t.Context(), &out, l.DiffID)
		if err == nil && !bytes.Equal(out.Bytes(), in) {
			t.Fatalf("with byte %d damaged another tar came", at)
		}
		if err != nil && !errdefs.IsDataLoss(err) && !errdefs.IsNotFound(err) {
			t.Errorf("with byte %d damaged: %v", at, err)
		}
	}
	if err := os.WriteFile(l.Path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := s.WriteTar(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }), l.DiffID); !errors.Is(err, full) || errdefs.IsDataLoss(err) {
		t.Errorf("got %v, want that the disk is full", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WriteTar(ctx, io.Discard, l.DiffID); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
