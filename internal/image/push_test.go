package image

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
)

// pushed is what a push that succeeded says it has left.
func (r *recorder) pushed(t testing.TB) Pushed {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 || r.events[len(r.events)-1].Pushed == nil {
		t.Fatalf("the last event of the push does not tell what was pushed: %+v", r.events)
	}
	return *r.events[len(r.events)-1].Pushed
}

// pushTo tags an image and pushes it. It returns what the push has told.
func (s *testStore) pushTo(t testing.TB, src, dst string) (*recorder, Pushed) {
	t.Helper()
	ctx := context.Background()
	if err := s.Tag(ctx, src, dst); err != nil {
		t.Fatal(err)
	}
	var rec recorder
	if err := s.Push(ctx, dst, nil, rec.progress); err != nil {
		t.Fatal(err)
	}
	return &rec, rec.pushed(t)
}

// onlyManifests fails the test if blobs of layers have stayed in the store: it
// may have that many blobs.
func (s *testStore) onlyManifests(t testing.TB, most int) {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(s.dir, "image/content/blobs/sha256/*"))
	unfinished, _ := filepath.Glob(filepath.Join(s.dir, "image/content/ingest/*"))
	if len(found) > most || len(unfinished) > 0 {
		t.Errorf("the store keeps the blobs %v and the unfinished %v; want %d", found, unfinished, most)
	}
	if held, _ := s.leases.List(s.context(context.Background())); len(held) > 0 {
		t.Errorf("left behind: leases %v", held)
	}
}

// An image that was made here is compressed, the same each time, and another
// store pulls what it was.
func TestPushMadeHere(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	s, other, ctx := newStore(t), newStore(t), context.Background()
	made, err := s.Import(ctx, bytes.NewReader(baseLayer(t)), "made:1", []string{"CMD true"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	rec, first := s.pushTo(t, "made:1", addr+"/app:1")
	if rec.count(statusPushed) != 1 || rec.count("The push refers to repository ["+addr+"/app]") != 1 || first.Tag != "1" {
		t.Errorf("the push tells %+v", rec.events)
	}
	s.onlyManifests(t, 3) // two manifests, a config

	got, err := other.Pull(ctx, addr+"/app:1", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != made.ID || got.Manifest.Digest != first.Digest || got.Manifest.Size != first.Size {
		t.Errorf("pulled %s by %+v; pushed %s as %+v", got.ID, got.Manifest, made.ID, first)
	}
	mine, err := s.Get(ctx, addr+"/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{addr + "/app@" + first.Digest.String()}; !slices.Equal(mine.RepoDigests, want) {
		t.Errorf("the digests after the push are %v, want %v", mine.RepoDigests, want)
	}
	if rec, again := s.pushTo(t, "made:1", addr+"/app:2"); again.Digest != first.Digest || rec.count(statusThere) != 1 {
		t.Errorf("pushed again it is %+v, and tells %+v", again, rec.events)
	}
	if rec, again := s.pushTo(t, "made:1", addr+"/team/app:1"); again.Digest != first.Digest || rec.count(statusMounted+"app") != 1 {
		t.Errorf("pushed to another repository it is %+v, and tells %+v", again, rec.events)
	}
	third := newStore(t) // which has not pushed it before: compressed there, it is the same
	if _, err := third.Import(ctx, bytes.NewReader(baseLayer(t)), "made:1", nil, "", ""); err != nil {
		t.Fatal(err)
	}
	if rec, _ := third.pushTo(t, "made:1", addr+"/app:3"); rec.count(statusThere) != 1 {
		t.Errorf("from another store the layer is another: %+v", rec.events)
	}
}

// What was pulled keeps its digest where the registry has its layers, or they
// are plain; elsewhere it is the same image.
func TestPushPulled(t *testing.T) {
	t.Parallel()
	addr, elsewhere := startRegistry(t, false), startRegistry(t, false)
	l, ctx := newLayout(t), context.Background()
	extra := makeTar(t, file{name: "a", data: noise(1, 1<<20)})
	mixed := l.image("", testLayer{baseLayer(t), gzipped}, testLayer{extra, zstandard}, testLayer{extra, plain}, testLayer{extra, zstandard})
	push(t, l.name("mixed", mixed), addr+"/lib/mixed:1", "--preserve-digests")
	push(t, l.name("gzip", l.image("", testLayer{baseLayer(t), gzipped}, testLayer{extra, gzipped})), addr+"/lib/docker:1", "--format", "v2s2")
	flat := l.image("", testLayer{baseLayer(t), plain}, testLayer{extra, plain})
	push(t, l.name("flat", flat), addr+"/lib/flat:1", "--preserve-digests")
	s := newStore(t)
	for _, name := range []string{"mixed", "docker", "flat"} {
		img, err := s.Pull(ctx, addr+"/lib/"+name+":1", "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, to := s.pushTo(t, addr+"/lib/"+name+":1", addr+"/mine/"+name+":1"); to.Digest != img.Manifest.Digest {
			t.Errorf("%s: within the registry, %s became %s", name, img.Manifest.Digest, to.Digest)
		}
		_, to := s.pushTo(t, addr+"/lib/"+name+":1", elsewhere+"/mine/"+name+":1")
		if same := to.Digest == img.Manifest.Digest; same != (name == "flat") {
			t.Errorf("%s: elsewhere, %s is %s", name, img.Manifest.Digest, to.Digest)
		}
		back, err := newStore(t).Pull(ctx, elsewhere+"/mine/"+name+":1", "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if back.ID != img.ID || back.Manifest.Digest != to.Digest {
			t.Errorf("%s: came back as %s by %s", name, back.ID, back.Manifest.Digest)
		}
	}
}

// uploadFaults stands before a registry, and gives each upload to fault first.
func uploadFaults(t testing.TB, registry string, fault func(n int64, w http.ResponseWriter, r *http.Request) bool) string {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: registry})
		r.Out.Host = r.In.Host // which is where uploads are sent to
	}}
	var n atomic.Int64
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") && fault(n.Add(1), w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	return strings.TrimPrefix(p.URL, "http://")
}

// An upload that breaks off, or that the registry is too busy for, is sent again.
func TestPushRetries(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	proxy := uploadFaults(t, addr, func(n int64, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			_, _ = io.CopyN(io.Discard, r.Body, 100<<10)
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	s, ctx := newStore(t), context.Background()
	if _, err := s.Import(ctx, bytes.NewReader(makeTar(t, file{name: "big", data: noise(4, 3<<20)})), "big", nil, "", ""); err != nil {
		t.Fatal(err)
	}
	_, to := s.pushTo(t, "big", proxy+"/big:1")
	if img, err := newStore(t).Pull(ctx, addr+"/big:1", "", nil, nil); err != nil || img.Manifest.Digest != to.Digest {
		t.Errorf("pulled %s, %v; pushed %s", img.Manifest.Digest, err, to.Digest)
	}
}

// A push that is ended, or refused, leaves the store as it was.
func TestPushEnds(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	s := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	proxy := uploadFaults(t, addr, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/refused/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		cancel()
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	if _, err := s.Import(context.Background(), bytes.NewReader(makeTar(t, file{name: "big", data: noise(5, 3<<20)})), "big", nil, "", ""); err != nil {
		t.Fatal(err)
	}
	for name, push := range map[string]func(ref string) error{
		"refused/big:1": func(ref string) error { return s.Push(context.Background(), ref, nil, nil) },
		"ended/big:1":   func(ref string) error { return s.Push(ctx, ref, nil, nil) },
	} {
		if err := s.Tag(context.Background(), "big", proxy+"/"+name); err != nil {
			t.Fatal(err)
		}
		if err := push(proxy + "/" + name); err == nil {
			t.Errorf("%s: the push succeeds", name)
		}
		s.onlyManifests(t, 2)
	}
	if img, err := s.Get(context.Background(), "big"); err != nil || len(img.RepoDigests) != 0 {
		t.Errorf("the digests are %v, %v", img.RepoDigests, err)
	}
}

func TestPushRefusals(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, true)
	s, ctx := newStore(t), context.Background()
	if _, err := s.Import(ctx, bytes.NewReader(baseLayer(t)), addr+"/app:1", nil, "", ""); err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.Push(ctx, addr+"/nothing:1", nil, nil), errdefs.ErrNotFound, "An image does not exist locally with the tag: "+addr+"/nothing")
	wantErr(t, s.Push(ctx, addr+"/app:2", nil, nil), errdefs.ErrNotFound, "tag does not exist: "+addr+"/app:2")
	wantErr(t, s.Push(ctx, addr+"/app@sha256:"+strings.Repeat("a", 64), nil, nil), errdefs.ErrInvalidArgument, "digest reference")
	wantErr(t, s.Push(ctx, addr+"/app:1", nil, nil), errdefs.ErrPermissionDenied, "abode login "+addr)
	s.onlyManifests(t, 2)
}
