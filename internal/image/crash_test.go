package image

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestPullCancelled ends a pull by its context; its parts stay until pruned.
func TestPullCancelled(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) {
			w.Write(body[:1<<20])
			cancel()
			<-release
			return true
		}
		return false
	})
	s := newStore(t)
	_, err := s.Pull(ctx, p.addr()+"/f:1", "", nil, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, n, err := s.Prune(context.Background(), false, nil, nobody, nil); err != nil || n == 0 {
		t.Errorf("pruned %d bytes, %v", n, err)
	}
	s.empty(t)
}

// TestPullKilled kills a process in the middle of a pull.
func TestPullKilled(t *testing.T) {
	if dir := os.Getenv("IMAGE_TEST_PULL_DIR"); dir != "" {
		s := openStore(t, dir)
		s.Pull(context.Background(), os.Getenv("IMAGE_TEST_PULL_REF"), "", nil, nil)
		return
	}
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	stuck := make(chan struct{})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) && n == 1 {
			w.Write(body[:1<<20])
			close(stuck)
			<-release
			return true
		}
		return false
	})
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPullKilled$")
	cmd.Env = append(os.Environ(), "IMAGE_TEST_PULL_DIR="+dir, "IMAGE_TEST_PULL_REF="+p.addr()+"/f:1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	<-stuck
	ingest := filepath.Join(dir, "image/content/ingest/*/data")
	for range 400 { // until the bytes have arrived
		found, _ := filepath.Glob(ingest)
		if len(found) == 1 {
			if fi, err := os.Stat(found[0]); err == nil && fi.Size() > 0 {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()

	s := openStore(t, dir)
	if list, err := s.List(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("after the kill there are %d images, %v", len(list), err)
	}
	p.mu.Lock()
	p.ranges = nil
	p.mu.Unlock()
	img, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The other layer may have been killed, too, before its first byte.
	if !slices.ContainsFunc(p.ranges, func(r string) bool { return r != "" }) {
		t.Errorf("the download was not resumed: ranges %q", p.ranges)
	}
	if _, err := s.Remove(context.Background(), img.ID.String(), false, nobody); err != nil {
		t.Fatal(err)
	}
	s.empty(t)
}

// TestRecoverDropsLoads leaves behind what a load killed in its midst would.
func TestRecoverDropsLoads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStore(t, dir)
	ctx, op, err := s.begin(s.context(context.Background()), "load", "")
	if err != nil {
		t.Fatal(err)
	}
	tarball := baseLayer(t)
	desc, err := s.ingest(ctx, "x", strings.NewReader(string(tarball)))
	if err != nil {
		t.Fatal(err)
	}
	diff := desc.Digest
	if err := op.pin(ctx, diff); err != nil {
		t.Fatal(err)
	}
	if err := s.unpack(ctx, ocispec.Descriptor{Digest: diff}, diff, &counter{progress: func(Event) {}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	openStore(t, dir).empty(t)
}

// TestOpenDropsTorn leaves behind what a download killed at its very beginning
// or end would: one without the file that names it, and one where that is empty.
func TestOpenDropsTorn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openStore(t, dir).Close()
	ingest := filepath.Join(dir, "image/content/ingest")
	writeFile(t, filepath.Join(ingest, strings.Repeat("a", 64), "data"), []byte("x"))
	writeFile(t, filepath.Join(ingest, strings.Repeat("b", 64), "ref"), nil)
	openStore(t, dir).empty(t)
}
