package erofs_test

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/erofs"
)

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []entry
		opaque  bool
	}{
		{"empty", nil, false},
		{"opaque", []entry{file(".wh..wh..opq", "")}, true},
		{"opaque among others", []entry{
			dir(".").attr("security.a", "1").attr("trusted.overlay.opaque", "no").attr("trusted.z", noise(301)).attr("user.a", ""),
			file(".wh..wh..opq", ""),
		}, true},
		{"other xattrs", []entry{dir(".").attr("trusted.overlay", "y").attr("user.overlay.opaque", "y").attr("trusted.x", noise(2000))}, false},
		{"opaque below", []entry{file("d/.wh..wh..opq", "")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := &memory{}
			want := [16]byte{1, 2, 3}
			info, err := erofs.FromTar(t.Context(), image, bytes.NewReader(archive(t, c.entries...)), erofs.Options{
				UUID: func() [16]byte { return want },
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := erofs.Examine(bytes.NewReader(image.data))
			if err != nil || got != (erofs.Probe{Size: info.Size, UUID: want, Opaque: c.opaque}) {
				t.Errorf("got %+v (%v)", got, err)
			}
		})
	}
	for _, not := range []string{"", "short", strings.Repeat("no file system", 1000)} {
		if _, err := erofs.Examine(strings.NewReader(not)); err == nil {
			t.Errorf("%.20q was taken for a file system", not)
		}
	}
}

// What is kept of an entry is not the whole of its header.
func TestMemory(t *testing.T) {
	var entries []entry
	for _, name := range strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "") {
		e := dir(strings.Repeat("long name/", 20)+name).attr("user.a", "b").attr("user.b", "c")
		e.PAXRecords["comment"] = strings.Repeat("x", 900<<10)
		entries = append(entries, e)
	}
	in := archive(t, entries...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err := erofs.FromTar(context.Background(), &memory{}, bytes.NewReader(in), erofs.Options{UUID: func() [16]byte {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return [16]byte{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 10<<20 {
		t.Errorf("%d bytes are kept of %d directories", kept, 52)
	}
	runtime.KeepAlive(in)
}
