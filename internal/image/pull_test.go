package image

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// otherPlatform is one that the host cannot run.
func otherPlatform() string {
	if runtime.GOARCH == "s390x" {
		return "linux/ppc64le"
	}
	return "linux/s390x"
}

func TestPull(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	layers := []testLayer{
		{baseLayer(t), gzipped},
		{makeTar(t, file{name: "a", data: noise(1, 1<<20)}), zstandard},
		{makeTar(t, file{name: "b", data: noise(2, 1<<20)}), plain},
		{makeTar(t, file{name: "a", data: noise(1, 1<<20)}), zstandard}, // once more
		{makeTar(t, file{name: "c", data: noise(3, 1<<20)}), gzipped},
	}
	l := newLayout(t)
	m := l.image("", layers...)
	push(t, l.name("one", m), addr+"/lib/one:1.0", "--preserve-digests")
	// Docker's manifest, and all in zstd, made by skopeo.
	var gzips []testLayer
	for _, layer := range layers {
		gzips = append(gzips, testLayer{layer.tar, gzipped})
	}
	push(t, l.name("gzip", l.image("", gzips...)), addr+"/lib/docker:latest", "--format", "v2s2")
	push(t, l.dir+":gzip", addr+"/lib/zstd:latest", "--dest-compress-format", "zstd")

	s := newStore(t)
	ctx := context.Background()
	var rec recorder
	img, err := s.Pull(ctx, addr+"/lib/one:1.0", "", nil, rec.progress)
	if err != nil {
		t.Fatal(err)
	}
	if img.Manifest.Digest != m.Digest {
		t.Errorf("manifest %s, want %s", img.Manifest.Digest, m.Digest)
	}
	if want := []string{addr + "/lib/one:1.0"}; !slices.Equal(img.RepoTags, want) {
		t.Errorf("tags %v, want %v", img.RepoTags, want)
	}
	if want := []string{addr + "/lib/one@" + m.Digest.String()}; !slices.Equal(img.RepoDigests, want) {
		t.Errorf("digests %v, want %v", img.RepoDigests, want)
	}
	var size int64
	for i, l := range img.Layers {
		if l.DiffID != digest.FromBytes(layers[i].tar) {
			t.Errorf("layer %d is %s", i, l.DiffID)
		}
		if _, err := os.Stat(l.Path); err != nil {
			t.Error(err)
		}
		size += l.Size
	}
	if len(img.Layers) != len(layers) || img.Size != size || size < 4<<20 {
		t.Errorf("%d layers, size %d", len(img.Layers), img.Size)
	}
	if got := img.Config.Config.Cmd; !slices.Equal(got, []string{"/bin/sh"}) {
		t.Errorf("Cmd %v", got)
	}
	if first := rec.events[0]; first.ID != "1.0" || first.Status != "Pulling from lib/one" {
		t.Errorf("the first event is %+v", first)
	}
	if last := rec.events[len(rec.events)-1]; last.Status != "Status: Downloaded newer image for "+addr+"/lib/one:1.0" {
		t.Errorf("the last event is %+v", last)
	}
	for _, status := range []string{statusPulling, statusDownloaded, statusPullComplete} {
		if n := rec.count(status); n != 4 {
			t.Errorf("%d events %q, want 4", n, status)
		}
	}
	checkBytes(t, rec.events)

	// The layers' blobs are not kept.
	if n, err := s.blobSizes(s.context(ctx)); err != nil || len(n) != 2 {
		t.Errorf("%d blobs, %v", len(n), err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "image/content/ingest/*")); len(left) > 0 {
		t.Errorf("unfinished downloads are left: %v", left)
	}

	rec = recorder{}
	if _, err := s.Pull(ctx, addr+"/lib/one:1.0", "", nil, rec.progress); err != nil {
		t.Fatal(err)
	}
	if rec.count(statusExists) != 4 || rec.count(statusPulling) != 0 {
		t.Errorf("the second pull reported %v", rec.events)
	}
	if last := rec.events[len(rec.events)-1]; last.Status != "Status: Image is up to date for "+addr+"/lib/one:1.0" {
		t.Errorf("the last event is %+v", last)
	}

	for _, name := range []string{"/lib/docker", "/lib/zstd:latest"} {
		other, err := s.Pull(ctx, addr+name, "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(other.Layers, img.Layers) {
			t.Errorf("%s has other layers", name)
		}
	}
	leases, err := s.leases.List(s.context(ctx))
	if err != nil || len(leases) > 0 {
		t.Errorf("leases are left: %v %v", leases, err)
	}

	byDigest, err := s.Pull(ctx, addr+"/lib/one@"+m.Digest.String(), "", nil, nil)
	if err != nil || byDigest.ID != img.ID {
		t.Errorf("by digest: %v %v", byDigest.ID, err)
	}
}

// checkBytes checks that within each layer and status the counts rise to the
// total.
func checkBytes(t *testing.T, events []Event) {
	t.Helper()
	last := map[string]Event{}
	for _, e := range events {
		if e.Total == 0 {
			continue
		}
		key := e.ID + e.Status
		if p := last[key]; e.Current < p.Current || e.Current > e.Total {
			t.Errorf("%+v after %+v", e, p)
		}
		last[key] = e
	}
	if len(last) == 0 {
		t.Error("no bytes were counted")
	}
	for _, e := range last {
		if e.Status == statusDownloading && e.Current != e.Total {
			t.Errorf("the download ended with %+v", e)
		}
	}
}

func TestPullPlatform(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	l := newLayout(t)
	host := l.image("", testLayer{baseLayer(t), gzipped})
	arm := l.image("linux/arm/v7", testLayer{makeTar(t, file{name: "arm", data: []byte("arm")}), gzipped})
	other := l.image(otherPlatform(), testLayer{makeTar(t, file{name: "x", data: []byte("x")}), gzipped})
	index := l.several(other, arm, host)
	push(t, l.name("all", index), addr+"/multi:all", "--all", "--preserve-digests")
	push(t, l.name("few", l.several(other, arm)), addr+"/multi:few", "--all", "--preserve-digests")
	push(t, l.name("single", other), addr+"/multi:single", "--preserve-digests")
	s := newStore(t)
	ctx := context.Background()

	img, err := s.Pull(ctx, addr+"/multi:all", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Manifest.Digest != host.Digest || img.RepoDigests[0] != addr+"/multi@"+index.Digest.String() {
		t.Errorf("got %s, %v", img.Manifest.Digest, img.RepoDigests)
	}
	img, err = s.Pull(ctx, addr+"/multi:all", "linux/arm", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Manifest.Digest != arm.Digest || img.Config.Variant != "v7" {
		t.Errorf("got %s %s", img.Manifest.Digest, img.Config.Variant)
	}
	_, err = s.Pull(ctx, addr+"/multi:few", "linux/mips64le", nil, nil)
	wantErr(t, err, errdefs.ErrNotFound, "linux/mips64le", otherPlatform(), "linux/arm/v7")
	if runtime.GOARCH == "amd64" {
		_, err = s.Pull(ctx, addr+"/multi:few", "", nil, nil)
		wantErr(t, err, errdefs.ErrNotFound, "linux/amd64", "--platform")
	}
	_, err = s.Pull(ctx, addr+"/multi:single", "", nil, nil)
	wantErr(t, err, errdefs.ErrNotFound, otherPlatform(), "--platform")
	if _, err = s.Pull(ctx, addr+"/multi:single", otherPlatform(), nil, nil); err != nil {
		t.Error(err)
	}
	_, err = s.Pull(ctx, addr+"/multi:all", "windows/amd64", nil, nil)
	wantErr(t, err, errdefs.ErrInvalidArgument, "linux")
}

func TestPullErrors(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	s := newStore(t)
	ctx := context.Background()
	_, err := s.Pull(ctx, addr+"/no/such:thing", "", nil, nil)
	wantErr(t, err, errdefs.ErrNotFound, "cannot pull", "check the name", "abode login "+addr)
	_, err = s.Pull(ctx, "No/Upper", "", nil, nil)
	wantErr(t, err, errdefs.ErrInvalidArgument, "lowercase")
	_, err = s.Pull(ctx, "127.0.0.1:1/x", "", nil, nil)
	wantErr(t, err, errdefs.ErrUnavailable, "127.0.0.1:1", "cannot be reached")
	s.empty(t)
}

func TestPullPrivate(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, true)
	l := newLayout(t)
	push(t, l.name("x", l.image("", testLayer{baseLayer(t), gzipped})), addr+"/private:1", "--dest-creds", "ann:secret")
	s := newStore(t)
	ctx := context.Background()
	for name, auth := range map[string]*registry.AuthConfig{
		"none":  nil,
		"wrong": {Username: "ann", Password: "guess"},
	} {
		_, err := s.Pull(ctx, addr+"/private:1", "", auth, nil)
		wantErr(t, err, errdefs.ErrPermissionDenied, "abode login "+addr)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	s.empty(t)
	for name, auth := range map[string]*registry.AuthConfig{
		"password": {Username: "ann", Password: "secret"},
		"auth":     {Auth: "YW5uOnNlY3JldA=="},
	} {
		if _, err := s.Pull(ctx, addr+"/private:1", "", auth, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.Pull(ctx, addr+"/private:2", "", &registry.AuthConfig{Username: "ann", Password: "secret"}, nil)
	wantErr(t, err, errdefs.ErrNotFound)
}

// TestPullMirror pulls an image of Docker Hub from a mirror that hosts.toml
// names.
func TestPullMirror(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	l := newLayout(t)
	push(t, l.name("x", l.image("", testLayer{baseLayer(t), gzipped})), addr+"/library/tiny:latest")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "hosts.d/docker.io/hosts.toml"),
		[]byte("server = \"http://127.0.0.1:1\"\n[host.\"http://"+addr+"\"]\n  capabilities = [\"pull\", \"resolve\"]\n"))
	s := openStore(t, dir)
	img, err := s.Pull(context.Background(), "tiny", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(img.RepoTags, []string{"tiny:latest"}) || !strings.HasPrefix(img.RepoDigests[0], "tiny@sha256:") {
		t.Errorf("%v %v", img.RepoTags, img.RepoDigests)
	}
}

func TestPullConcurrently(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	l := newLayout(t)
	shared := testLayer{makeTar(t, file{name: "shared", data: noise(7, 4<<20)}), gzipped}
	push(t, l.name("a", l.image("", shared, testLayer{baseLayer(t), gzipped})), addr+"/con:a")
	push(t, l.name("b", l.image("", shared)), addr+"/con:b")
	s := newStore(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Pull(context.Background(), addr+"/con:"+string("ab"[i%2]), "", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := s.List(context.Background())
	if err != nil || len(list) != 2 {
		t.Errorf("%d images, %v", len(list), err)
	}
}

// TestPullWhilePruned removes everything again and again while it is pulled.
func TestPullWhilePruned(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	l := newLayout(t)
	shared := testLayer{baseLayer(t), gzipped}
	push(t, l.name("a", l.image("", shared, testLayer{makeTar(t, file{name: "a"}), gzipped})), addr+"/con:a")
	push(t, l.name("b", l.image("", shared)), addr+"/con:b")
	s := newStore(t)
	ctx := context.Background()
	var pullers, pruner sync.WaitGroup
	done := make(chan struct{})
	pruner.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, _, err := s.Prune(ctx, true, nil, nobody, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 4 {
		pullers.Go(func() {
			for range 5 {
				img, err := s.Pull(ctx, addr+"/con:"+string("ab"[i%2]), "", nil, nil)
				if err != nil || len(img.Layers) != 2-i%2 {
					t.Errorf("%d layers, %v", len(img.Layers), err)
				}
			}
		})
	}
	pullers.Wait()
	close(done)
	pruner.Wait()
	if _, _, err := s.Prune(ctx, true, nil, nobody, nil); err != nil {
		t.Error(err)
	}
	s.empty(t)
}

func TestPlatformRefusal(t *testing.T) {
	w, err := parsePlatform("linux/riscv64")
	if err != nil {
		t.Fatal(err)
	}
	err = w.refuse(ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "unknown", Architecture: "unknown"})
	if strings.Contains(err.Error(), "unknown") {
		t.Error(err)
	}
}
