package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	for _, img := range list {
		p, err := other.load(other.context(context.Background()), img.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range p.layers {
			if d.Digest != img.Config.RootFS.DiffIDs[i] || d.MediaType != ocispec.MediaTypeImageLayer {
				t.Errorf("layer %d is saved as %+v", i, d)
			}
		}
	}
	// What was made for the archive alone is gone, and so is what was loaded.
	for _, s := range []*testStore{s, other} {
		if n, err := s.blobSizes(s.context(context.Background())); err != nil || len(n) != 2*2 {
			t.Errorf("%d blobs, %v", len(n), err)
		}
	}
	// Saved once more it is the same, as its layers are plain already.
	var again bytes.Buffer
	if err := other.Save(context.Background(), &again, []string{"saved/one", "saved/two:1"}); err != nil {
		t.Fatal(err)
	}
	third := newStore(t)
	more, err := third.Load(context.Background(), &again, nil)
	if err != nil || len(more) != 2 || more[0].Manifest.Digest != list[0].Manifest.Digest || more[1].Manifest.Digest != list[1].Manifest.Digest {
		t.Errorf("%+v, %v", more, err)
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

// TestSaveDamaged saves an image of which a layer has been damaged: what comes
// is not a whole archive.
func TestSaveDamaged(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, _ := twoImages(t, s)
	path := a.Layers[0].Path
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(image, busybox()[:64])
	if at < 0 {
		t.Fatal("the layer has no program as it is")
	}
	image[at+20] ^= 1
	writeFile(t, path, image)
	var buf bytes.Buffer
	wantErr(t, s.Save(context.Background(), &buf, []string{"a:1"}), errdefs.ErrDataLoss, "cannot save", "pull its image again")
	if _, err := newStore(t).Load(context.Background(), &buf, nil); err == nil {
		t.Error("what was saved is taken for an archive")
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
