package erofs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// debian returns the path of a root file system of Debian as a tar, made once.
// `make test` makes one (hack/assets); a test alone makes a smaller one.
func debian(t testing.TB) string {
	t.Helper()
	needRoot(t)
	cache := os.Getenv("ABODE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Skip("there is no directory to cache a root file system in: set ABODE_CACHE")
		}
		cache = filepath.Join(user, "abode")
	}
	for _, name := range []string{"debian-apps.tar", "debian-minbase.tar"} {
		if path := filepath.Join(cache, name); exists(path) {
			return path
		}
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is missing: run `make deps`, or install it")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// One test at a time makes it, whatever package it is of.
	lock, err := os.OpenFile(filepath.Join(cache, "debian-minbase.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "debian-minbase.tar")
	if !exists(path) {
		t.Log("making", path, "with mmdebstrap, once: about a minute")
		run(t, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", "bookworm", path+".part")
		if err := os.Rename(path+".part", path); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A whole Debian is what tar unpacks: from its file and from a loop device.
func TestDebian(t *testing.T) {
	path := debian(t)
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	image, info := convert(t, in, erofs.Options{})
	want := onDisk(t, extract(t, path))
	if len(want) < 5000 {
		t.Fatalf("%s holds only %d files", path, len(want))
	}
	same(t, "through the kernel, from the file", onDisk(t, mount(t, image)), want)
	same(t, "through the kernel, from a loop device", onDisk(t, mountLoop(t, image)), want)
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	same(t, "in the image", inImage(t, f), want)
	fsck(t, image)

	st, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, tar %d bytes, image %d", info.Files, st.Size(), info.Size)
	if info.Size > st.Size()*11/10 {
		t.Errorf("the image has %d bytes for a tar of %d", info.Size, st.Size())
	}
}

// The same archive gives the same bytes, however it arrives.
func TestSameBytes(t *testing.T) {
	in := archive(t, features()[4].entries...)
	in = in[:len(in)-1024] // of which more follows
	for _, f := range features()[5:] {
		in = append(in, archive(t, f.entries...)...)
		in = in[:len(in)-1024]
	}
	in = append(in, make([]byte, 1024)...)
	one, _ := convert(t, bytes.NewReader(in), erofs.Options{})
	want, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // maps change their order
		two, _ := convert(t, &slow{bytes.NewReader(in)}, erofs.Options{})
		got, err := os.ReadFile(two)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("the same archive gave other bytes")
		}
	}
}

// A slow reader gives a few bytes at a time.
type slow struct{ r *bytes.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 777)]) }
