package interop

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/test/harness"
)

// An entry of a layer: a directory if its name ends in a slash, a link if it
// has a target, else a file.
type entry struct {
	name, data  string
	mode        int64
	uid, gid    int
	symlink, to string // to: the other name of a hard link
}

func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.data)), Mode: e.mode, Uid: e.uid, Gid: e.gid, ModTime: time.Unix(1700000000, 0)}
		switch {
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case e.symlink != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.symlink, 0o777
		case e.to != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.to
		case h.Mode == 0:
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// long is a path that old tar headers have no room for.
var long = "usr/share/" + strings.Repeat("a-long-name-of-a-directory/", 9) + "file"

// layers are those of an image that was built step by step: what a later one
// removes, replaces and hides of an earlier one is in them.
func layers(t testing.TB) [][]byte {
	t.Helper()
	asset, err := harness.Asset("busybox.tar")
	if err != nil {
		t.Fatal(err)
	}
	tool := entry{name: "usr/bin/tool", data: "a tool\n", mode: 0o4755, uid: 1000, gid: 2000}
	same := entry{name: "usr/bin/same-tool", to: tool.name, mode: tool.mode, uid: tool.uid, gid: tool.gid}
	packages := makeTar(t,
		entry{name: "usr/bin/"}, tool, same,
		entry{name: "etc/gone", data: "to be removed\n"},
		entry{name: "etc/alternatives/pager", symlink: "/bin/more"},
		entry{name: "opt/old/hidden", data: "to be hidden\n"},
		entry{name: "var/lib/dpkg/status", data: "half-installed\n"},
		entry{name: long, data: "long\n"})
	changes := makeTar(t,
		entry{name: "etc/.wh.gone"},
		entry{name: "opt/old/.wh..wh..opq"},
		entry{name: "opt/old/new", data: "new\n"},
		entry{name: "var/lib/dpkg/status", data: "installed\n"})
	return [][]byte{[]byte(readFile(t, asset)), packages, changes}
}

// look prints what layers has put together, and looks that of it says.
var look = []string{"sh", "-c", "cat /var/lib/dpkg/status; ls /opt/old; test -e /etc/gone || echo removed; stat -c '%a %u:%g %h' /usr/bin/tool; cat /usr/bin/same-tool; readlink /etc/alternatives/pager; cat /" + long + "; echo $FROM"}

const looks = "installed\nnew\nremoved\n4755 1000:2000 2\na tool\n/bin/more\nlong\nthe image\n"

// A layout is an OCI layout directory with one image, or one index of images,
// by the name of latest.
type layout struct {
	t   testing.TB
	dir string
}

// newLayout writes an image of the layers for each platform, with one on top that
// no other test and platform has.
func newLayout(t testing.TB, platforms ...string) *layout {
	t.Helper()
	l := &layout{t, t.TempDir()}
	var manifests []ocispec.Descriptor
	for _, p := range platforms {
		own := makeTar(t, entry{name: "own", data: t.Name() + " " + p})
		manifests = append(manifests, l.image(p, append(layers(t), own)...))
	}
	top := manifests[0]
	if len(manifests) > 1 {
		top = l.json(ocispec.MediaTypeImageIndex, index(manifests...))
	}
	top.Platform, top.Annotations = nil, map[string]string{ocispec.AnnotationRefName: "latest"}
	raw, err := json.Marshal(index(top))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(l.dir, "index.json"), raw)
	writeFile(t, filepath.Join(l.dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func index(manifests ...ocispec.Descriptor) ocispec.Index {
	return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}
}

// source is what skopeo calls the layout's image.
func (l *layout) source() string { return "oci:" + l.dir + ":latest" }

func (l *layout) image(platform string, content ...[]byte) ocispec.Descriptor {
	config := ocispec.Image{Config: ocispec.ImageConfig{Env: []string{"PATH=/bin", "FROM=the image"}, Cmd: look}}
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, c := range content {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(c))
		config.History = append(config.History, ocispec.History{CreatedBy: "a step"})
		m.Layers = append(m.Layers, l.layer(i%2 == 1, c))
	}
	m.Config = l.json(ocispec.MediaTypeImageConfig, config)
	d := l.json(ocispec.MediaTypeImageManifest, m)
	d.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture}
	return d
}

// layer writes a layer's blob: with gzip, or with zstd as younger builders do.
func (l *layout) layer(young bool, content []byte) ocispec.Descriptor {
	var buf bytes.Buffer
	if !young {
		w := gzip.NewWriter(&buf)
		w.Write(content)
		w.Close()
		return l.blob(ocispec.MediaTypeImageLayerGzip, buf.Bytes())
	}
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		l.t.Fatal(err)
	}
	w.Write(content)
	w.Close()
	return l.blob(ocispec.MediaTypeImageLayerZstd, buf.Bytes())
}

func (l *layout) json(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, raw)
}

func (l *layout) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	writeFile(l.t, filepath.Join(l.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()), data)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
