package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
)

// loadLayout loads an OCI layout.
func (s *testStore) loadLayout(t testing.TB, l *layout) []Image {
	t.Helper()
	list, err := s.Load(context.Background(), bytes.NewReader(l.archive()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSave(t *testing.T) {
	t.Parallel()
	l := newLayout(t)
	one := l.image("", testLayer{baseLayer(t), gzipped})
	two := l.image("", testLayer{baseLayer(t), zstandard}, testLayer{makeTar(t, file{name: "2", data: noise(4, 4096)}), plain})
	l.name("saved/one:1", one)
	l.name("saved/one:2", one)
	l.name("saved/two:1", two)
	s := newStore(t)
	images := s.loadLayout(t, l)

	var buf bytes.Buffer
	if err := s.Save(context.Background(), &buf, []string{"saved/one", "saved/two:1"}); err != nil {
		t.Fatal(err)
	}
	if got, want := savedTags(t, buf.Bytes()), [][]string{{"saved/one:1", "saved/one:2"}, {"saved/two:1"}}; !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("tags %v, want %v", got, want)
	}
	other := newStore(t)
	list, err := other.Load(context.Background(), bytes.NewReader(buf.Bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range list {
		if img.ID != images[i].ID || !slices.Equal(img.RepoTags, images[i].RepoTags) {
			t.Errorf("saved and loaded: %s %v, want %s %v", img.ID, img.RepoTags, images[i].ID, images[i].RepoTags)
		}
	}
	if list[0].Manifest.Digest != one.Digest {
		t.Error("the manifest of an image without zstd has changed")
	}
	// What was made for the archive alone is gone.
	if n, err := s.blobSizes(s.context(context.Background())); err != nil || len(n) != 2*2+3 {
		t.Errorf("%d blobs, %v", len(n), err)
	}

	file := filepath.Join(t.TempDir(), "saved.tar")
	writeFile(t, file, buf.Bytes())
	for _, ref := range []string{"docker-archive:" + file + ":saved/one:2", "docker-archive:" + file + ":saved/two:1", "oci-archive:" + file + ":2"} {
		out := t.TempDir()
		skopeo(t, "copy", ref, "dir:"+out)
	}

	buf.Reset()
	if err := s.Save(context.Background(), &buf, []string{images[0].ID.Encoded()[:12]}); err != nil {
		t.Fatal(err)
	}
	if got := savedTags(t, buf.Bytes()); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("by ID: tags %v", got)
	}
	wantErr(t, s.Save(context.Background(), io.Discard, []string{"no/such"}), errdefs.ErrNotFound, "cannot save")
	broken := errors.New("broken pipe")
	if err := s.Save(context.Background(), writerFunc(func([]byte) (int, error) { return 0, broken }), []string{"saved/two"}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// savedTags returns the tags of each image in an archive's manifest.json.
func savedTags(t testing.TB, data []byte) (tags [][]string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatal("manifest.json: ", err)
		}
		if h.Name == "manifest.json" {
			break
		}
	}
	var items []struct{ RepoTags []string }
	if err := json.NewDecoder(r).Decode(&items); err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		slices.Sort(i.RepoTags)
		tags = append(tags, i.RepoTags)
	}
	slices.SortFunc(tags, slices.Compare[[]string])
	return tags
}
