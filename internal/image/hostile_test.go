package image

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// liar is a registry that serves what it likes: blobs by digest, and one
// manifest for every tag.
type liar struct {
	blobs    map[digest.Digest][]byte
	manifest []byte
	kind     string
	endless  bool
}

// ServeHTTP implements http.Handler.
func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i := strings.LastIndex(r.URL.Path, "/")
	data, ok := l.blobs[digest.Digest(r.URL.Path[i+1:])]
	if strings.Contains(r.URL.Path, "/manifests/") && !ok {
		data, ok = l.manifest, true
		w.Header().Set("Content-Type", l.kind)
		if l.endless {
			for range 1 << 12 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
			return
		}
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Write(data)
}

func (l *liar) add(mediaType string, data []byte) ocispec.Descriptor {
	d := describe(mediaType, data)
	l.blobs[d.Digest] = data
	return d
}

func (l *liar) json(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return l.add(mediaType, raw)
}

// TestPullHostile pulls what no registry should serve. Nothing may stay.
func TestPullHostile(t *testing.T) {
	t.Parallel()
	tarball := makeTar(t, file{name: "x", data: []byte("x")})
	good := func(l *liar) (ImageConfig, ocispec.Manifest) {
		var c ImageConfig
		c.OS, c.RootFS.Type, c.RootFS.DiffIDs = "linux", "layers", []digest.Digest{digest.FromBytes(tarball)}
		m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
		m.Layers = []ocispec.Descriptor{l.add(ocispec.MediaTypeImageLayer, tarball)}
		return c, m
	}
	for name, c := range map[string]struct {
		spoil func(l *liar, c *ImageConfig, m *ocispec.Manifest)
		after func(l *liar)
		is    error
		words string
	}{
		"many layers": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			for range 200 {
				c.RootFS.DiffIDs, m.Layers = append(c.RootFS.DiffIDs, c.RootFS.DiffIDs[0]), append(m.Layers, m.Layers[0])
			}
		}, is: errdefs.ErrInvalidArgument, words: "201 layers"},
		"foreign layer": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].URLs = []string{"http://127.0.0.1:1/x"}
		}, is: errdefs.ErrInvalidArgument, words: "outside the registry"},
		"nondistributable": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		}, is: errdefs.ErrInvalidArgument, words: "outside the registry"},
		"chart": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
		}, is: errdefs.ErrInvalidArgument, words: "not an image"},
		"odd layer": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].MediaType = "application/vnd.erofs.layer.v1"
		}, is: errdefs.ErrInvalidArgument, words: "unknown type"},
		"other diff": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			c.RootFS.DiffIDs[0] = digest.FromString("other")
		}, is: errdefs.ErrDataLoss, words: "not what the image's config says"},
		"fewer diffs": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			c.RootFS.DiffIDs = nil
		}, is: errdefs.ErrInvalidArgument, words: "1 layers and its config knows 0"},
		"bad diff": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			c.RootFS.DiffIDs[0] = "sha256:../../../etc/passwd"
		}, is: errdefs.ErrInvalidArgument, words: "not a digest"},
		"sha512": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].Digest = digest.SHA512.FromBytes(tarball)
		}, is: errdefs.ErrInvalidArgument, words: "sha512"},
		"negative size": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].Size = -1
		}, is: errdefs.ErrInvalidArgument, words: "size"},
		"larger than said": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Layers[0].Size--
		}, is: errdefs.ErrDataLoss},
		"windows": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			c.OS = "windows"
		}, is: errdefs.ErrInvalidArgument, words: "windows"},
		"huge config": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			c.Config.Env = []string{strings.Repeat("x", maxConfig)}
		}, is: errdefs.ErrInvalidArgument, words: "claims a size"},
		"huge manifest": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Annotations = map[string]string{"x": strings.Repeat("x", maxManifest)}
		}, is: errdefs.ErrInvalidArgument},
		"enormous manifest": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Annotations = map[string]string{"x": strings.Repeat("x", 3*maxManifest)}
		}, is: errdefs.ErrInvalidArgument, words: "possible"},
		"endless manifest": {after: func(l *liar) { l.endless = true }, is: errdefs.ErrInvalidArgument, words: "larger than"},
		"two at once": {after: func(l *liar) {
			l.manifest = []byte(strings.TrimSuffix(string(l.manifest), "}") + `,"manifests":[]}`)
		}, is: errdefs.ErrInvalidArgument, words: "several things"},
		"not JSON": {after: func(l *liar) { l.manifest = []byte("<html>") }, is: errdefs.ErrInvalidArgument, words: "JSON"},
		"schema 1": {after: func(l *liar) {
			l.kind, l.manifest = "text/plain", []byte(`{"schemaVersion":1,"fsLayers":[]}`)
		}, is: errdefs.ErrNotImplemented, words: "schema 1"},
		"index of itself": {after: func(l *liar) {
			d := l.add(ocispec.MediaTypeImageIndex, []byte(`{"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[]}`))
			for range 5 {
				d = l.json(ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
			}
			l.manifest, l.kind = l.blobs[d.Digest], d.MediaType
		}, is: errdefs.ErrInvalidArgument, words: "deep"},
		"control characters": {spoil: func(l *liar, c *ImageConfig, m *ocispec.Manifest) {
			m.Config.MediaType = "\x1b[2Jx"
		}, is: errdefs.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			l := &liar{blobs: map[digest.Digest][]byte{}, kind: ocispec.MediaTypeImageManifest}
			config, m := good(l)
			m.Config.MediaType = ocispec.MediaTypeImageConfig
			if c.spoil != nil {
				c.spoil(l, &config, &m)
			}
			kind := m.Config.MediaType
			m.Config = l.json(kind, config)
			l.manifest, _ = json.Marshal(m)
			if c.after != nil {
				c.after(l)
			}
			srv := httptest.NewServer(l)
			defer srv.Close()
			s := newStore(t)
			_, err := s.Pull(context.Background(), strings.TrimPrefix(srv.URL, "http://")+"/x:1", "", nil, nil)
			wantErr(t, err, c.is, "cannot pull", c.words)
			if err != nil && strings.ContainsRune(err.Error(), '\x1b') {
				t.Error("control characters in the message")
			}
			s.empty(t)
		})
	}
	l := &liar{blobs: map[digest.Digest][]byte{}, kind: ocispec.MediaTypeImageManifest}
	config, m := good(l)
	m.Config = l.json(ocispec.MediaTypeImageConfig, config)
	l.manifest, _ = json.Marshal(m)
	srv := httptest.NewServer(l)
	defer srv.Close()
	if _, err := newStore(t).Pull(context.Background(), strings.TrimPrefix(srv.URL, "http://")+"/x:1", "", nil, nil); err != nil {
		t.Error("what is not spoilt is refused:", err)
	}
}
