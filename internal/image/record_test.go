package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// nobody is an inUse callback: no image is used.
var nobody InUse = func(digest.Digest) []string { return nil }

// twoImages loads two images that share their lowest layer.
func twoImages(t testing.TB, s *testStore) (a, b Image) {
	t.Helper()
	l := newLayout(t)
	base := testLayer{baseLayer(t), gzipped}
	l.name("a:1", l.image("", base, testLayer{makeTar(t, file{name: "a", data: []byte("a")}), gzipped}))
	l.name("b:1", l.image("", base, testLayer{makeTar(t, file{name: "b", data: []byte("b")}), gzipped}))
	list := s.loadLayout(t, l)
	return list[0], list[1]
}

func TestGet(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx := context.Background()
	a, b := twoImages(t, s)
	if err := s.Tag(ctx, "a:1", "example.org/x/a"); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Get(ctx, "a:1"); err != nil || a.Tagged.IsZero() || !again.Tagged.After(a.Tagged) {
		t.Errorf("tagged %s, and then %s (%v)", a.Tagged, again.Tagged, err)
	}
	// A name wins over the beginning of an ID.
	if err := s.Tag(ctx, "b:1", a.ID.Encoded()[:12]); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]digest.Digest{
		"a:1": a.ID, "docker.io/library/a:1": a.ID, "index.docker.io/a:1": a.ID, "example.org/x/a:latest": a.ID, "example.org/x/a": a.ID,
		a.ID.String(): a.ID, a.ID.Encoded(): a.ID, a.ID.Encoded()[:13]: a.ID, "sha256:" + a.ID.Encoded()[:20]: a.ID,
		a.ID.Encoded()[:12]: b.ID,
	} {
		img, err := s.Get(ctx, ref)
		if err != nil || img.ID != want {
			t.Errorf("%s: %s %v, want %s", ref, img.ID, err, want)
		}
	}
	for _, ref := range []string{"a", "a:2", "c", "x/a", strings.Repeat("0", 64), "A:1", "a:1@" + a.ID.String()} {
		_, err := s.Get(ctx, ref)
		wantErr(t, err, errdefs.ErrNotFound, "abode pull")
	}
	_, err := s.Get(ctx, "")
	wantErr(t, err, errdefs.ErrInvalidArgument)
}

func TestGetAmbiguous(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := map[byte]bool{}
	for i := range 17 {
		img, err := s.Import(context.Background(), bytes.NewReader(baseLayer(t)), "", []string{"LABEL n=" + string(rune('a'+i))}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		digit := img.ID.Encoded()[0]
		if first[digit] {
			_, err := s.Get(context.Background(), string(digit))
			wantErr(t, err, errdefs.ErrInvalidArgument, "several images", "more digits")
			return
		}
		first[digit] = true
	}
	t.Fatal("17 IDs with different first digits")
}

func TestTag(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx := context.Background()
	a, b := twoImages(t, s)
	if err := s.Tag(ctx, b.ID.String(), "a:1"); err != nil { // moves
		t.Fatal(err)
	}
	if img, err := s.Get(ctx, "a:1"); err != nil || img.ID != b.ID || !slices.Equal(img.RepoTags, []string{"a:1", "b:1"}) {
		t.Errorf("%v %v", img.RepoTags, err)
	}
	if img, err := s.Get(ctx, a.ID.String()); err != nil || len(img.RepoTags) != 0 {
		t.Errorf("%v %v", img.RepoTags, err)
	}
	wantErr(t, s.Tag(ctx, "c", "d"), errdefs.ErrNotFound)
	for _, bad := range []string{"", "UP", "a:b:c", "x@" + a.ID.String(), "sha256:abc", strings.Repeat("a", 300), a.ID.Encoded()} {
		wantErr(t, s.Tag(ctx, "b:1", bad), errdefs.ErrInvalidArgument)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx := context.Background()
	a, b := twoImages(t, s)
	if err := s.Tag(ctx, "a:1", "a:2"); err != nil {
		t.Fatal(err)
	}
	removed, err := s.Remove(ctx, "a:2", false, nobody)
	if err != nil || !slices.Equal(removed, []Removed{{Untagged: "a:2"}}) {
		t.Fatalf("%v %v", removed, err)
	}
	removed, err = s.Remove(ctx, "a:1", false, nobody)
	if err != nil || !slices.Equal(removed, []Removed{{Untagged: "a:1"}, {Deleted: a.ID.String()}}) {
		t.Fatalf("%v %v", removed, err)
	}
	if _, err := os.Stat(a.Layers[1].Path); !os.IsNotExist(err) {
		t.Error("the layer of the removed image is still there:", err)
	}
	if _, err := s.Get(ctx, "b:1"); err != nil {
		t.Fatal(err)
	}
	// By ID, with names in two repositories.
	if err := s.Tag(ctx, "b:1", "other:1"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Remove(ctx, b.ID.Encoded()[:12], false, nobody)
	wantErr(t, err, errdefs.ErrConflict, "several repositories", "force")
	removed, err = s.Remove(ctx, b.ID.Encoded()[:12], true, nobody)
	if err != nil || !slices.Equal(removed, []Removed{{Untagged: "b:1"}, {Untagged: "other:1"}, {Deleted: b.ID.String()}}) {
		t.Fatalf("%v %v", removed, err)
	}
	s.empty(t)
	_, err = s.Remove(ctx, "b:1", true, nobody)
	wantErr(t, err, errdefs.ErrNotFound)
}

// TestRemoveInUse removes images that containers use.
func TestRemoveInUse(t *testing.T) {
	t.Parallel()
	running := ""
	s := newStore(t, func(c *Config) { c.Running = func(name string) bool { return name == running } })
	ctx := context.Background()
	a, b := twoImages(t, s)
	users := map[digest.Digest][]string{a.ID: {"web"}}
	inUse := func(id digest.Digest) []string { return users[id] }
	_, err := s.Remove(ctx, "a:1", false, inUse)
	wantErr(t, err, errdefs.ErrConflict, "web", "force")
	running = "web"
	_, err = s.Remove(ctx, "a:1", true, inUse)
	wantErr(t, err, errdefs.ErrConflict, "running", "web")
	// Not the last name: that may go.
	if err := s.Tag(ctx, "a:1", "a:2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(ctx, "a:2", false, inUse); err != nil {
		t.Fatal(err)
	}

	running = ""
	removed, err := s.Remove(ctx, "a:1", true, inUse)
	if err != nil || len(removed) != 2 {
		t.Fatalf("%v %v", removed, err)
	}
	if _, err := s.Get(ctx, "a:1"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if list, _ := s.List(ctx); len(list) != 1 || list[0].ID != b.ID {
		t.Errorf("listed: %v", list)
	}
	// The stopped container can be started again.
	if img, err := s.Get(ctx, a.ID.String()); err != nil || len(img.Layers) != 2 {
		t.Errorf("%v %v", img.Layers, err)
	}
	// Not even when the other image goes that has the same base.
	if _, err := s.Remove(ctx, "b:1", false, inUse); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(a.Layers[0].Path); err != nil {
		t.Error(err)
	}
	delete(users, a.ID)
	if _, n, err := s.Prune(ctx, false, nil, inUse, nil); err != nil || n < a.Layers[0].Size {
		t.Errorf("pruned %d bytes, %v", n, err)
	}
	s.empty(t)
}

func TestPrune(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx := context.Background()
	a, b := twoImages(t, s)
	if err := s.Tag(ctx, "b:1", "a:1"); err != nil { // a is dangling now
		t.Fatal(err)
	}
	stray, err := s.layers.Add(ctx, bytes.NewReader(makeTar(t, file{name: "s", data: []byte("s")})), "")
	if err != nil {
		t.Fatal(err)
	}
	used := func(id digest.Digest) []string { return []string{"c"} }
	if removed, _, err := s.Prune(ctx, true, nil, used, func() map[digest.Digest]bool { return map[digest.Digest]bool{stray.DiffID: true} }); err != nil || len(removed) != 0 {
		t.Fatalf("%v %v", removed, err)
	}
	if _, err := os.Stat(stray.Path); err != nil {
		t.Fatal(err)
	}
	removed, n, err := s.Prune(ctx, false, nil, nobody, nil)
	if err != nil || !slices.Equal(removed, []Removed{{Deleted: a.ID.String()}}) || n < stray.Size+a.Layers[1].Size {
		t.Fatalf("%v %d %v", removed, n, err)
	}
	if _, err := os.Stat(stray.Path); !os.IsNotExist(err) {
		t.Error("the stray layer is still there")
	}
	if _, err := s.Get(ctx, b.ID.String()); err != nil {
		t.Fatal(err)
	}
	removed, _, err = s.Prune(ctx, true, nil, nobody, nil)
	if err != nil || len(removed) != 3 {
		t.Fatalf("%v %v", removed, err)
	}
	s.empty(t)
}

func TestHistory(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, _ := twoImages(t, s)
	h, err := s.History(context.Background(), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	if len(h) != 3 || h[0].ID != a.ID.String() || h[0].CreatedBy != "CMD" || h[0].Size != 0 || !slices.Equal(h[0].Tags, []string{"a:1"}) ||
		h[1].ID != "<missing>" || h[1].Size != a.Layers[1].Size || h[2].Size != a.Layers[0].Size || h[2].Created != 1700000000 {
		t.Errorf("%+v", h)
	}
}

// TestReopen checks that all is there after the store is opened again, that it
// cannot be open twice, and that a lost layer is missed until it comes again.
func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStore(t, dir)
	a, _ := twoImages(t, s)
	_, err := Open(context.Background(), Config{Dir: dir + "/image", Layers: s.layers})
	wantErr(t, err, errdefs.ErrUnavailable, "another engine")
	s.Close()
	s = openStore(t, dir)
	list, err := s.List(context.Background())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d images, %v", len(list), err)
	}
	if err := s.layers.Remove(a.Layers[1].DiffID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(context.Background(), "a:1")
	wantErr(t, err, errdefs.ErrDataLoss, short(a.Layers[1].DiffID), "pull or load it again")
	twoImages(t, s)
	img, err := s.Get(context.Background(), "a:1")
	if err != nil || !slices.Equal(img.Layers, a.Layers) {
		t.Errorf("%v %v", img.Layers, err)
	}
}

func BenchmarkGet(b *testing.B) {
	s := newStore(b)
	for i := range 50 {
		_, err := s.Import(context.Background(), bytes.NewReader(makeTar(b, file{name: "x", data: []byte("x")})), fmt.Sprintf("img%d:1", i), []string{fmt.Sprintf("LABEL n=%d", i)}, "", "")
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Get(context.Background(), "img25:1"); err != nil {
			b.Fatal(err)
		}
	}
}
