package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *Store, name string, labels map[string]string) Volume {
	t.Helper()
	v, err := s.Create(name, labels)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCreateSurvivesReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volumes")
	s := open(t, dir)
	made := create(t, s, "db.data-1", map[string]string{"a": "b"})
	if made.Mountpoint != filepath.Join(dir, "db.data-1", "_data") {
		t.Errorf("mountpoint is %s", made.Mountpoint)
	}
	if time.Since(made.CreatedAt) > time.Minute || made.Anonymous() {
		t.Errorf("wrong description: %+v", made)
	}
	if fi, err := os.Stat(made.Mountpoint); err != nil || fi.Mode() != os.ModeDir|0o755 {
		t.Errorf("mountpoint: %v %v", fi, err)
	}
	again := create(t, s, "db.data-1", map[string]string{"other": "labels"})
	if d := cmp.Diff(made, again); d != "" {
		t.Errorf("creating twice changed the volume:\n%s", d)
	}
	anon := create(t, s, "", nil)
	if len(anon.Name) != 64 || !anon.Anonymous() {
		t.Errorf("anonymous volume: %+v", anon)
	}

	list, err := open(t, dir).List()
	if err != nil {
		t.Fatal(err)
	}
	want := []Volume{anon, made}
	if anon.Name > made.Name {
		want = []Volume{made, anon}
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Errorf("after reopening (-want +got):\n%s", d)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, bad := range []string{"a", ".", "..", ".hidden", "-x", "_x", "a/b", "../x", "a b", "a\x00b", "ä1", "a\n", strings.Repeat("a", 256)} {
		if _, err := s.Create(bad, nil); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("Create(%q): %v", bad, err)
		}
	}
	for _, good := range []string{"ab", "0a", "A.-_", strings.Repeat("a", 200)} {
		if _, err := s.Create(good, nil); err != nil {
			t.Errorf("Create(%q): %v", good, err)
		}
	}
	if es, _ := os.ReadDir(dir); len(es) != 4 {
		t.Errorf("entries: %v", es)
	}
}

func TestLabelsAreCopied(t *testing.T) {
	s := open(t, t.TempDir())
	labels := map[string]string{"k": "v"}
	v := create(t, s, "vol", labels)
	labels["k"] = "changed"
	v.Labels["k"] = "changed too"
	got, err := s.Get("vol")
	if err != nil || got.Labels["k"] != "v" {
		t.Errorf("Get: %+v, %v", got, err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	v := create(t, s, "vol", nil)
	outside := filepath.Join(t.TempDir(), "outside")
	for path, content := range map[string]string{filepath.Join(v.Mountpoint, "f"): "1234", outside: "stays"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(v.Mountpoint, "link")); err != nil {
		t.Fatal(err)
	}
	err := s.Remove("vol", func(string) []string { return []string{"c1", "c2"} })
	if !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "volume is in use - [c1, c2]") {
		t.Errorf("removing a used volume: %v", err)
	}
	if _, err := s.Get("vol"); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
	if err := s.Remove("vol", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("vol", nil); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if es, _ := os.ReadDir(dir); len(es) != 0 {
		t.Errorf("left behind: %v", es)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("removal followed a symbolic link: %v", err)
	}
}

func TestPrune(t *testing.T) {
	s := open(t, t.TempDir())
	create(t, s, "named", nil)
	used := create(t, s, "", nil)
	free := create(t, s, "", nil)
	file := filepath.Join(free.Mountpoint, "f")
	if err := os.WriteFile(file, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, file+"2"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Usage(free.Name); n != 1000 || err != nil {
		t.Errorf("Usage: %d, %v", n, err)
	}
	usedBy := func(name string) []string {
		if name == used.Name {
			return []string{"c"}
		}
		return nil
	}
	removed, n, err := s.Prune(nil, usedBy)
	if err != nil || n != 1000 || !cmp.Equal(removed, []string{free.Name}) {
		t.Errorf("Prune: %v, %d, %v", removed, n, err)
	}
	removed, _, err = s.Prune(func(Volume) bool { return true }, usedBy)
	if err != nil || !cmp.Equal(removed, []string{"named"}) {
		t.Errorf("Prune of all: %v, %v", removed, err)
	}
}

// What a crash between two steps of a creation or a removal leaves is gone
// after Open, and whole volumes are still there.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	keep := create(t, s, "keep", nil)
	create(t, s, "going", nil)
	if _, err := s.take("going"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".new-1", "_data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if list, _ := s.List(); len(list) != 1 || list[0].Name != keep.Name {
		t.Errorf("volumes after a crash: %v", list)
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("left behind: %v", es)
	}
	if err := os.WriteFile(filepath.Join(dir, "keep", metaFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Open of a damaged store: %v", err)
	}
}

func TestConcurrent(t *testing.T) {
	s := open(t, t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Create("shared", nil); err != nil {
					t.Error(err)
				}
				if err := s.Remove("shared", nil); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if list, _ := s.List(); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
