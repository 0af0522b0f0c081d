package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

func TestImport(t *testing.T) {
	t.Parallel()
	root := baseLayer(t)
	s := newStore(t)
	var ids []digest.Digest
	for i, how := range []compression{plain, gzipped, zstandard} {
		img, err := s.Import(context.Background(), bytes.NewReader(compressAs(t, how, root)), "root:"+string(rune('a'+i)),
			[]string{"CMD [\"/bin/sh\"]", "ENV A=b"}, "imported by a test", "")
		if err != nil {
			t.Fatal(err)
		}
		if len(img.Layers) != 1 || img.Layers[0].DiffID != digest.FromBytes(root) {
			t.Errorf("layers %+v", img.Layers)
		}
		if !slices.Equal(img.RepoTags, []string{"root:" + string(rune('a'+i))}) {
			t.Errorf("tags %v", img.RepoTags)
		}
		if img.Config.OS != "linux" || img.Config.Architecture == "" || !slices.Equal(img.Config.Config.Cmd, []string{"/bin/sh"}) {
			t.Errorf("config %+v", img.Config)
		}
		h, err := s.History(context.Background(), img.ID.String())
		if err != nil || len(h) != 1 || h[0].Comment != "imported by a test" || h[0].Size != img.Size || h[0].ID != img.ID.String() {
			t.Errorf("history %+v, %v", h, err)
		}
		ids = append(ids, img.ID)
	}
	// skopeo can read what was made.
	var buf bytes.Buffer
	if err := s.Save(context.Background(), &buf, []string{"root:b"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	writeFile(t, file, buf.Bytes())
	skopeo(t, "copy", "oci-archive:"+file, "dir:"+t.TempDir())

	for _, id := range ids {
		if _, err := s.Remove(context.Background(), id.String(), false, nobody); err != nil {
			t.Fatal(err)
		}
	}
	s.empty(t)
	for name, data := range map[string][]byte{"cut": root[:len(root)/2], "garbage": noise(1, 1<<16), "empty": nil} {
		if _, err := s.Import(context.Background(), bytes.NewReader(data), "", nil, "", ""); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.empty(t)
	}
	_, err := s.Import(context.Background(), bytes.NewReader(root), "x@sha256:"+digest.FromString("x").Encoded(), nil, "", "")
	wantErr(t, err, errdefs.ErrInvalidArgument, "digest")
	_, err = s.Import(context.Background(), bytes.NewReader(root), "x", []string{"RUN rm -rf /"}, "", "")
	wantErr(t, err, errdefs.ErrInvalidArgument, "RUN")
}

func TestImportDangling(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img, err := s.Import(context.Background(), bytes.NewReader(baseLayer(t)), "", nil, "", "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	if len(img.RepoTags) != 0 || img.Config.Architecture != "arm64" {
		t.Errorf("%+v", img)
	}
	if _, err := os.Stat(img.Layers[0].Path); err != nil {
		t.Error(err)
	}
}
