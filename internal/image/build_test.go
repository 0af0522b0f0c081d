package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// file is one entry of a layer.
type file struct {
	name string
	data []byte
	mode int64
	link string
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg, ModTime: time.Unix(1700000000, 0)}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// busybox is a root file system with a shell.
var busybox = sync.OnceValue(func() []byte {
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		data = bytes.Repeat([]byte("no busybox here "), 1<<14)
	}
	return data
})

func baseLayer(t testing.TB) []byte {
	return makeTar(t, file{name: "bin/busybox", data: busybox(), mode: 0o755}, file{name: "bin/sh", link: "busybox"}, file{name: "etc/passwd", data: []byte("root:x:0:0::/:/bin/sh\n")})
}

// noise is data that no compression shrinks.
func noise(seed uint64, size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	data := make([]byte, size)
	r.Read(data)
	return data
}

func compressAs(t testing.TB, how compression, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	switch how {
	case gzipped:
		w := gzip.NewWriter(&buf)
		w.Write(data)
		w.Close()
	case zstandard:
		w, err := zstd.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
	default:
		return data
	}
	return buf.Bytes()
}

// testLayer is a layer to be put into an image.
type testLayer struct {
	tar []byte
	how compression
}

// layout builds an OCI layout directory.
type layout struct {
	t     testing.TB
	dir   string
	index ocispec.Index
}

func newLayout(t testing.TB) *layout {
	l := &layout{t: t, dir: t.TempDir(), index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}}
	writeFile(t, filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l *layout) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := describe(mediaType, data)
	writeFile(l.t, filepath.Join(l.dir, "blobs/sha256", d.Digest.Encoded()), data)
	return d
}

func (l *layout) json(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, raw)
}

// image writes manifest, config and layers of an image.
func (l *layout) image(platform string, layers ...testLayer) ocispec.Descriptor {
	l.t.Helper()
	w, err := parsePlatform(platform)
	if err != nil {
		l.t.Fatal(err)
	}
	created := time.Unix(1700000000, 0).UTC()
	config := ImageConfig{}
	config.Platform, config.Created, config.RootFS.Type = w.spec, &created, "layers"
	config.Config.Cmd = []string{"/bin/sh"}
	config.Config.Env = []string{"PATH=/bin"}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer.tar))
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: fmt.Sprintf("step %d", i)})
		m.Layers = append(m.Layers, l.blob(ociType[layer.how], compressAs(l.t, layer.how, layer.tar)))
	}
	config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: "CMD", EmptyLayer: true})
	m.Config = l.json(ocispec.MediaTypeImageConfig, config)
	d := l.json(ocispec.MediaTypeImageManifest, m)
	d.Platform = &w.spec
	return d
}

var ociType = map[compression]string{
	plain: ocispec.MediaTypeImageLayer, gzipped: ocispec.MediaTypeImageLayerGzip, zstandard: ocispec.MediaTypeImageLayerZstd,
}

// name puts d into the layout's index under a name, and returns what skopeo
// calls it.
func (l *layout) name(name string, d ocispec.Descriptor) string {
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	l.index.Manifests = append(l.index.Manifests, d)
	raw, err := json.Marshal(l.index)
	if err != nil {
		l.t.Fatal(err)
	}
	writeFile(l.t, filepath.Join(l.dir, "index.json"), raw)
	return l.dir + ":" + name
}

// several makes an index of manifests.
func (l *layout) several(ds ...ocispec.Descriptor) ocispec.Descriptor {
	return l.json(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: ds})
}

// archive returns the layout as an OCI archive.
func (l *layout) archive() []byte {
	var files []file
	err := filepath.WalkDir(l.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(l.dir, name)
		files = append(files, file{name: rel, data: data})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return makeTar(l.t, files...)
}
