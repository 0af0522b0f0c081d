package image

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerArchive makes an archive as "docker save" of old writes it: a directory
// for each layer, and a symlink where a layer occurs once more.
func dockerArchive(t testing.TB, tags []string, layers ...[]byte) []byte {
	t.Helper()
	var config ImageConfig
	config.OS, config.Architecture = "linux", "amd64"
	var files []file
	var names []string
	dirs := map[digest.Digest]string{}
	for i, l := range layers {
		d := digest.FromBytes(l)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d)
		dir := digest.FromString(string(rune('a' + i))).Encoded()
		f := file{name: dir + "/layer.tar", data: l}
		if first, ok := dirs[d]; ok {
			f = file{name: dir + "/layer.tar", link: "../" + first + "/layer.tar"}
		}
		dirs[d] = dir
		files = append(files, file{name: dir + "/VERSION", data: []byte("1.0")}, file{name: dir + "/json", data: []byte("{}")}, f)
		names = append(names, dir+"/layer.tar")
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	configName := digest.FromBytes(raw).Encoded() + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": tags, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, file{name: configName, data: raw}, file{name: "manifest.json", data: manifest})
	return makeTar(t, files...)
}

func TestLoadDocker(t *testing.T) {
	t.Parallel()
	layers := [][]byte{baseLayer(t), makeTar(t, file{name: "x", data: []byte("x")}), baseLayer(t)}
	data := dockerArchive(t, []string{"old:1", "example.org/old:2"}, layers...)
	for _, how := range []compression{plain, gzipped, zstandard} {
		s := newStore(t)
		var rec recorder
		list, err := s.Load(context.Background(), bytes.NewReader(compressAs(t, how, data)), rec.progress)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || !slices.Equal(list[0].RepoTags, []string{"example.org/old:2", "old:1"}) || len(list[0].RepoDigests) != 0 {
			t.Fatalf("%+v", list)
		}
		for i, l := range list[0].Layers {
			if l.DiffID != digest.FromBytes(layers[i]) {
				t.Errorf("layer %d is %s", i, l.DiffID)
			}
		}
		if rec.count("Loaded image: old:1") != 1 || rec.count("Loaded image: example.org/old:2") != 1 || rec.count(statusLoading) == 0 {
			t.Errorf("events: %v", rec.events)
		}
		if _, err := s.Remove(context.Background(), list[0].ID.String(), true, nobody); err != nil {
			t.Fatal(err)
		}
		s.empty(t)
	}
}

func TestLoadOCI(t *testing.T) {
	t.Parallel()
	l := newLayout(t)
	one := l.image("", testLayer{baseLayer(t), gzipped})
	two := l.image("", testLayer{baseLayer(t), zstandard}, testLayer{makeTar(t, file{name: "2", data: []byte("2")}), plain})
	other := l.image(otherPlatform(), testLayer{makeTar(t, file{name: "3", data: []byte("3")}), gzipped})
	l.name("one:1", one)
	l.name("again:1", one)
	l.name("latest", l.several(other, two)) // a bare tag is no name
	s := newStore(t)
	var rec recorder
	list, err := s.Load(context.Background(), bytes.NewReader(l.archive()), rec.progress)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("%d images", len(list))
	}
	if !slices.Equal(list[0].RepoTags, []string{"again:1", "one:1"}) || list[0].Manifest.Digest != one.Digest {
		t.Errorf("%+v", list[0])
	}
	if len(list[1].RepoTags) != 0 || list[1].Manifest.Digest != two.Digest {
		t.Errorf("%+v", list[1])
	}
	if rec.count("Loaded image ID: "+list[1].ID.String()) != 1 {
		t.Errorf("events: %v", rec.events)
	}
}

// TestLoadSkopeo loads what skopeo writes.
func TestLoadSkopeo(t *testing.T) {
	t.Parallel()
	l := newLayout(t)
	src := "oci:" + l.name("x", l.image("", testLayer{baseLayer(t), gzipped}))
	dir := t.TempDir()
	skopeo(t, "copy", src, "docker-archive:"+filepath.Join(dir, "docker.tar")+":sk/docker:1")
	skopeo(t, "copy", src, "oci-archive:"+filepath.Join(dir, "oci.tar")+":sk/oci:1")
	s := newStore(t)
	for _, kind := range []string{"docker", "oci"} {
		f, err := os.Open(filepath.Join(dir, kind+".tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		list, err := s.Load(context.Background(), f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || !slices.Contains(list[0].RepoTags, "sk/"+kind+":1") {
			t.Errorf("%s: %+v", kind, list)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	l := newLayout(t)
	l.name("x:1", l.image("", testLayer{baseLayer(t), gzipped}))
	oci := l.archive()
	bad := bytes.Clone(oci)
	bad[bytes.Index(bad, []byte("\x1f\x8b\x08"))+100] ^= 1
	s := newStore(t)
	for name, c := range map[string]struct {
		data []byte
		is   error
	}{
		"empty":     {nil, errdefs.ErrInvalidArgument},
		"garbage":   {noise(1, 4096), errdefs.ErrInvalidArgument},
		"a root fs": {baseLayer(t), errdefs.ErrInvalidArgument},
		"cut":       {oci[:len(oci)/2], errdefs.ErrInvalidArgument},
		"bad layer": {bad, errdefs.ErrDataLoss},
		"no layer":  {makeTar(t, file{name: "manifest.json", data: []byte(`[{"Config":"c","Layers":["../../etc/passwd"]}]`)}), errdefs.ErrInvalidArgument},
		"loop":      {makeTar(t, file{name: "manifest.json", link: "manifest.json"}), errdefs.ErrInvalidArgument},
		"bad tag":   {dockerArchive(t, []string{"UPPER"}, baseLayer(t)), errdefs.ErrInvalidArgument},
	} {
		_, err := s.Load(context.Background(), bytes.NewReader(c.data), nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantErr(t, err, c.is, "cannot load")
		s.empty(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Load(ctx, io.MultiReader(bytes.NewReader(oci[:1<<16]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.ErrUnexpectedEOF
	})), nil)
	if err == nil {
		t.Error("no error for a client that hangs up")
	}
	s.empty(t)
}

// TestLoadFirstCut is about a store in which nothing has ever been whole.
func TestLoadFirstCut(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	cut := makeTar(t, file{name: "blobs/sha256/x", data: noise(1, 1<<18)})[:1<<17]
	_, err := s.Load(context.Background(), bytes.NewReader(cut), nil)
	wantErr(t, err, errdefs.ErrInvalidArgument, "cannot load")
	s.empty(t)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func FuzzLoad(f *testing.F) {
	l := newLayout(f)
	l.name("x:1", l.image("", testLayer{makeTar(f, file{name: "x", data: []byte("x")}), gzipped}))
	f.Add(l.archive())
	f.Add(dockerArchive(f, []string{"a:1"}, makeTar(f, file{name: "x", data: []byte("x")})))
	f.Add(makeTar(f, file{name: "oci-layout", data: []byte("{}")}, file{name: ocispec.ImageIndexFile, data: []byte(`{"manifests":[{}]}`)}))
	s := newStore(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := s.Load(context.Background(), bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		for _, img := range list {
			if _, err := s.Remove(context.Background(), img.ID.String(), true, nobody); err != nil {
				t.Fatal(err)
			}
		}
	})
}
