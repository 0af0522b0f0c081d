package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// Files of a container, while it runs and when it does not, on each wall.
func TestFiles(t *testing.T) {
	l := newLab(t)
	for _, wall := range l.walls() {
		t.Run(string(wall), func(t *testing.T) {
			ctx := t.Context()
			id := l.create("files-"+string(wall), wall, nil, "sleep", "60")
			for _, running := range []bool{false, true, false} {
				if running {
					l.start(id)
				}
				name := "new" + strconv.FormatBool(running)
				var b bytes.Buffer
				w := tar.NewWriter(&b)
				w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Size: 5})
				w.Write([]byte("hello"))
				w.Close()
				if running { // compressed or not, broken or not
					var z bytes.Buffer
					zw := gzip.NewWriter(&z)
					zw.Write(b.Bytes())
					zw.Close()
					err := l.Extract(ctx, id, "/tmp", ExtractOptions{}, bytes.NewReader(z.Bytes()[:z.Len()-4]))
					if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "cannot read the archive") {
						t.Errorf("half of an archive: %v", err)
					}
					b = z
				}
				if err := l.Extract(ctx, id, "/root", ExtractOptions{}, &b); err != nil {
					t.Fatal(err)
				}
				st, err := l.StatPath(ctx, id, "/root/"+name)
				if err != nil || st.Size != 5 || st.Mode != 0o640 || st.Name != name {
					t.Errorf("stat: %+v, %v", st, err)
				}
				r, _, err := l.Archive(ctx, id, "/root/"+name)
				if err != nil {
					t.Fatal(err)
				}
				tr := tar.NewReader(r)
				h, err := tr.Next()
				if err != nil || h.Name != name {
					t.Errorf("archive: %+v, %v", h, err)
				}
				if got, _ := io.ReadAll(tr); string(got) != "hello" {
					t.Errorf("archive: %q", got)
				}
				r.Close()
				if _, err := l.StatPath(ctx, id, "/nowhere"); !errdefs.IsNotFound(err) {
					t.Errorf("stat of nothing: %v", err)
				}
				changes, err := l.Changes(ctx, id)
				found := false
				for _, c := range changes {
					found = found || c.Path == "/root/"+name && c.Kind == container.ChangeAdd
				}
				if err != nil || !found {
					t.Errorf("changes: %v, %v", changes, err)
				}
				if running {
					if err := l.Kill(ctx, id, ""); err != nil {
						t.Fatal(err)
					}
				}
				l.nothingHeld(id)
			}
			r, err := l.Export(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for tr := tar.NewReader(r); ; {
				h, err := tr.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				names[strings.Trim(h.Name, "./")] = true
			}
			r.Close()
			if !names["bin/busybox"] || !names["root/newtrue"] {
				t.Errorf("the export lacks files: %d names", len(names))
			}
		})
	}
}
