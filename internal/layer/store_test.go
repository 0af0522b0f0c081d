package layer_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha512"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	reader "github.com/erofs/go-erofs"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
	"github.com/abode-run/abode/internal/layer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// archive is a tar of one file of size bytes that differs with seed.
func archive(t testing.TB, seed byte, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Size: int64(size), Mode: 0o644})
	if _, e := w.Write(data); err == nil {
		err = e
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, dir string) *layer.Store {
	t.Helper()
	s, err := layer.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files lists what is in a directory.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestLife(t *testing.T) {
	umask := unix.Umask(0o077)
	defer unix.Umask(umask)
	dir := filepath.Join(t.TempDir(), "root", "layers")
	s := open(t, dir)
	in := archive(t, 1, 100_000)
	want := digest.FromBytes(in)

	if _, err := s.Get(want); !errdefs.IsNotFound(err) {
		t.Errorf("before: got %v, want ErrNotFound", err)
	}
	l, err := s.Add(t.Context(), bytes.NewReader(in), want)
	if err != nil {
		t.Fatal(err)
	}
	if l.DiffID != want || l.Path != filepath.Join(dir, "sha256-"+want.Encoded()+".erofs") {
		t.Errorf("got %+v", l)
	}
	st, err := os.Stat(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o444 || st.Size() != l.Size || l.Size%4096 != 0 {
		t.Errorf("the file is %v of %d bytes, the layer has %d", st.Mode(), st.Size(), l.Size)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("the directory is %v (%v)", st.Mode(), err)
	}
	readable(t, l, 100_000)

	sum := sha512.Sum512(in)
	other, err := s.Add(t.Context(), bytes.NewReader(in), digest.NewDigestFromBytes(digest.SHA512, sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.List(); err != nil || !slices.Equal(got, []layer.Layer{l, other}) {
		t.Errorf("List: got %v (%v)", got, err)
	}
	s = open(t, dir) // as after a restart
	if got, err := s.Get(want); err != nil || got != l {
		t.Errorf("Get: got %v (%v)", got, err)
	}
	if err := s.Remove(want); err != nil {
		t.Error(err)
	}
	if err := s.Remove(want); !errdefs.IsNotFound(err) {
		t.Errorf("Remove again: got %v, want ErrNotFound", err)
	}
	if got := files(t, dir); len(got) != 1 || !strings.HasPrefix(got[0], "sha512-") {
		t.Errorf("left: %q", got)
	}
}

// readable opens a layer as another user's hypervisor would find it.
func readable(t testing.TB, l layer.Layer, size int64) {
	t.Helper()
	f, err := os.Open(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fsys, err := reader.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	in, err := fsys.Open("file")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if n, err := io.Copy(io.Discard, in); err != nil || n != size {
		t.Errorf("read %d bytes of %d: %v", n, size, err)
	}
}

// What a crash left goes, what others keep there stays.
func TestOpenCleans(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"tmp-123", "tmp-abc", "notes.txt", "sha256-short.erofs", "x.erofs"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	if got := files(t, dir); !slices.Equal(got, []string{"notes.txt", "sha256-short.erofs", "x.erofs"}) {
		t.Errorf("left: %q", got)
	}
	if got, err := s.List(); err != nil || len(got) != 0 {
		t.Errorf("List: got %v (%v)", got, err)
	}
}

// A file that was spoiled is not handed out, and is replaced.
func TestDamaged(t *testing.T) {
	s := open(t, t.TempDir())
	in := archive(t, 1, 100_000)
	want := digest.FromBytes(in)
	for name, spoil := range map[string]func(path string) error{
		"emptied":     func(path string) error { return os.Truncate(path, 0) },
		"cut off":     func(path string) error { return os.Truncate(path, 8192) },
		"overwritten": func(path string) error { return os.WriteFile(path, make([]byte, 8192), 0o444) },
	} {
		l, err := s.Add(t.Context(), bytes.NewReader(in), want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		readable(t, l, 100_000)
		if err := spoil(l.Path); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(want); !errdefs.IsDataLoss(err) {
			t.Errorf("%s: got %v, want ErrDataLoss", name, err)
		}
		if all, err := s.List(); err != nil || len(all) != 1 || all[0].DiffID != want || all[0].Size != 0 {
			t.Errorf("%s: List: got %v (%v)", name, all, err)
		}
	}
	if err := s.Remove(want); err != nil {
		t.Error(err)
	}
}

// A whiteout of all that is below shows in the layer, and each layer has a UUID
// of its own.
func TestOpaqueAndUUID(t *testing.T) {
	s := open(t, t.TempDir())
	var opaque bytes.Buffer
	w := tar.NewWriter(&opaque)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: ".wh..wh..opq"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	uuids := map[[16]byte]bool{}
	for i, in := range [][]byte{opaque.Bytes(), archive(t, 1, 10), archive(t, 2, 10)} {
		l, err := s.Add(t.Context(), bytes.NewReader(in), "")
		if err != nil || l.Opaque != (i == 0) {
			t.Fatalf("layer %d: got %+v (%v)", i, l, err)
		}
		f, err := os.Open(l.Path)
		if err != nil {
			t.Fatal(err)
		}
		probe, err := erofs.Examine(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		uuids[probe.UUID] = true
	}
	if len(uuids) != 3 {
		t.Errorf("3 layers have %d UUIDs", len(uuids))
	}
}
