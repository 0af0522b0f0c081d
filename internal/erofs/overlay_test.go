package erofs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// overlay mounts layers, lowest first, below a writable one.
func overlay(t testing.TB, layers ...string) string {
	t.Helper()
	at := t.TempDir()
	overlayAt(t, at, t.TempDir(), layers...)
	unmountAtEnd(t, at)
	return at
}

// overlayAt mounts layers below a writable one that is in the directory base.
func overlayAt(t testing.TB, at, base string, layers ...string) {
	t.Helper()
	var lower []string
	for i := len(layers) - 1; i >= 0; i-- {
		lower = append(lower, layers[i])
	}
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", at, "overlay", 0, options); err != nil {
		t.Fatalf("cannot mount an overlay (%s): %v", options, err)
	}
}

// Stacked, layers are what the OCI image specification says of whiteouts.
func TestOverlay(t *testing.T) {
	needRoot(t)
	stack := [][]entry{
		{
			file("kept", "1"), file("changed", "1"), file("removed", "1"), file("a/b/removed", "1"), file("a/b/kept", "1"),
			dir("opaque"), file("opaque/old", "1"), file("opaque/sub/old", "1"), file("tree/x/y", "1"),
			file("becomes dir", "1"), file("becomes file/in", "1"), file("redone/old", "1"), file("merged/one", "1").mode(0o600),
			file("again", "1"), hardlink("again too", "again"),
		},
		{
			file("changed", "2"), file(".wh.removed", ""), file("a/b/.wh.removed", ""), dir("opaque").mode(0o700), file("opaque/.wh..wh..opq", ""),
			file("opaque/new", "2"), file(".wh.tree", ""), file("becomes dir/in", "2"), file("becomes file", "2"),
			file(".wh.redone", ""), file("redone/new", "2"), file("merged/two", "2"), file(".wh.again", ""), file(".wh.not there", ""),
		},
		{file("again", "3"), file("tree/z", "3"), file("merged/.wh.one", ""), file("a/.wh.b", "")},
	}
	var mounted []string
	for _, entries := range stack {
		image, _ := convert(t, bytes.NewReader(archive(t, entries...)), erofs.Options{})
		mounted = append(mounted, mount(t, image))
	}
	got := onDisk(t, overlay(t, mounted...))
	for path, s := range got { // overlayfs counts a merged directory's links as one
		s.nlink = 1
		s.sec, s.nsec = 0, 0 // and its own root is of today
		got[path] = s
	}
	same(t, "stacked", got, text(`
/ dir 0755
/a dir 0755
/again file 0644 "3"
/again too file 0644 "1"
/becomes dir dir 0755
/becomes dir/in file 0644 "2"
/becomes file file 0644 "2"
/changed file 0644 "2"
/kept file 0644 "1"
/merged dir 0755
/merged/two file 0644 "2"
/opaque dir 0700
/opaque/new file 0644 "2"
/redone dir 0755
/redone/new file 0644 "2"
/tree dir 0755
/tree/z file 0644 "3"
`))
}

// A file that a container has changed keeps its inode number: overlayfs finds
// the origin in its layer by the layer's UUID.
func TestUUIDTellsLayersApart(t *testing.T) {
	needRoot(t)
	var mounted []string
	for i := range 2 {
		image, _ := convert(t, bytes.NewReader(archive(t, file(string(rune('a'+i)), "x"))), erofs.Options{
			UUID: func() [16]byte { return [16]byte{1, byte(i)} },
		})
		mounted = append(mounted, mount(t, image))
	}
	base, at := t.TempDir(), t.TempDir()
	number := func(change bool) uint64 {
		overlayAt(t, at, base, mounted...)
		defer unix.Unmount(at, 0)
		path := filepath.Join(at, "a")
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if change {
			if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return st.Ino
	}
	if before, after := number(true), number(false); before != after {
		t.Errorf("the inode number changed from %d to %d", before, after)
	}
}
