package image

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/labels"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/erofs"
)

// earlier makes of an image what the first version of the engine left: layers
// without a recipe, and their blobs, which the manifest holds.
func earlier(t *testing.T, s *testStore, img Image, layers ...testLayer) {
	t.Helper()
	ctx, op, err := s.begin(s.context(context.Background()), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	defer op.end(ctx, false)
	refs := map[string]string{"containerd.io/gc.ref.content.config": img.ID.String()}
	for i, l := range layers {
		if err := os.Remove(img.Layers[i].Path); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(img.Layers[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := erofs.FromTar(ctx, f, bytes.NewReader(l.tar), erofs.Options{}); err != nil {
			t.Fatal(err)
		}
		d, err := s.ingest(ctx, op.lease.ID+string(rune('0'+i)), bytes.NewReader(compressAs(t, l.how, l.tar)))
		if err != nil {
			t.Fatal(err)
		}
		info := content.Info{Digest: d.Digest, Labels: map[string]string{labels.LabelUncompressed: img.Layers[i].DiffID.String()}}
		if _, err := s.content.Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
			t.Fatal(err)
		}
		refs["containerd.io/gc.ref.content.l."+string(rune('0'+i))] = d.Digest.String()
	}
	if _, err := s.content.Update(ctx, content.Info{Digest: img.Manifest.Digest, Labels: refs}, "labels"); err != nil {
		t.Fatal(err)
	}
}

// TestEarlierStore goes on with what an earlier version has left: nothing is
// downloaded again, what is saved is what was pulled, and a lost layer is
// unpacked again.
func TestEarlierStore(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	layers := []testLayer{{baseLayer(t), gzipped}, {makeTar(t, file{name: "2", data: noise(4, 4096)}), gzipped}}
	l := newLayout(t)
	m := l.image("", layers...)
	push(t, l.name("x", m), addr+"/x:1", "--preserve-digests")
	p := newFaulty(t, addr)
	ref := p.addr() + "/x:1"
	s := newStore(t)
	img, err := s.Pull(context.Background(), ref, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	earlier(t, s, img, layers...)
	p.mu.Lock()
	p.seen = map[string]int{}
	p.mu.Unlock()
	again, err := s.Pull(context.Background(), ref, "", nil, nil)
	if err != nil || again.Manifest.Digest != m.Digest {
		t.Fatalf("%s, %v", again.Manifest.Digest, err)
	}
	for _, d := range []ocispec.Descriptor{l.layerOf(t, m, 0), l.layerOf(t, m, 1)} {
		if p.seen["/v2/x/blobs/"+d.Digest.String()] > 0 {
			t.Errorf("layer %s was downloaded again", d.Digest)
		}
	}
	var buf bytes.Buffer
	if err := s.Save(context.Background(), &buf, []string{ref}); err != nil {
		t.Fatal(err)
	}
	list, err := newStore(t).Load(context.Background(), &buf, nil)
	if err != nil || list[0].Manifest.Digest != m.Digest {
		t.Errorf("what is saved has the manifest %v (%v)", list, err)
	}
	if err := s.layers.Remove(img.Layers[1].DiffID); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(context.Background(), ref); err != nil || !slices.Equal(got.Layers[1:], img.Layers[1:]) {
		t.Errorf("%+v, %v", got.Layers, err)
	}
	// An import of the same tar needs no blob: the layer is written anew.
	if _, err := s.Import(context.Background(), bytes.NewReader(layers[0].tar), "imported:1", nil, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(context.Background(), &buf, []string{"imported:1"}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{ref, "imported:1"} {
		if _, err := s.Remove(context.Background(), name, false, nobody); err != nil {
			t.Fatal(err)
		}
	}
	s.empty(t)
}

// layerOf reads a layer's descriptor out of a manifest.
func (l *layout) layerOf(t *testing.T, m ocispec.Descriptor, i int) ocispec.Descriptor {
	t.Helper()
	raw, err := os.ReadFile(l.dir + "/blobs/sha256/" + m.Digest.Encoded())
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err := parseDocument(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return doc.Layers[i]
}
