package erofs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// extract unpacks an archive as root would.
func extract(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions", "-C", dir, "-xf", archive)
	return dir
}

// A tree that GNU tar packs in each of its formats is what GNU tar unpacks.
func TestGNUTar(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("tar is missing")
	}
	tree := gnuTree(t)
	for name, options := range map[string][]string{
		"gnu":              {"--format=gnu"},
		"gnu, sparse":      {"--format=gnu", "--sparse"},
		"pax":              {"--format=pax", "--xattrs", "--xattrs-include=*"},
		"pax, sparse 0.0":  {"--format=pax", "--sparse-version=0.0", "--sparse"},
		"pax, sparse 0.1":  {"--format=pax", "--sparse-version=0.1", "--sparse"},
		"pax, sparse 1.0":  {"--format=pax", "--sparse-version=1.0", "--sparse", "--xattrs", "--xattrs-include=*"},
		"oldgnu, labelled": {"--format=oldgnu", "--numeric-owner", "--sparse"},
	} {
		t.Run(name, func(t *testing.T) {
			packed := filepath.Join(t.TempDir(), "a.tar")
			run(t, "tar", append(options, "-C", tree, "-cf", packed, ".")...)
			f, err := os.Open(packed)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			image, _ := convert(t, f, erofs.Options{})
			want := onDisk(t, extract(t, packed))
			same(t, "through the kernel", onDisk(t, mount(t, image)), want)
			r, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			same(t, "in the image", inImage(t, r), want)
			fsck(t, image)
		})
	}
}

// gnuTree makes files of all sorts on the disk.
func gnuTree(t *testing.T) string {
	tree := t.TempDir()
	at := func(name string) string { return filepath.Join(tree, name) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	deep := strings.Repeat("a long name of a directory/", 12)
	check(os.MkdirAll(at(deep), 0o750))
	check(os.WriteFile(at(deep+"\xfe\xff not UTF-8"), []byte("x"), 0o600))
	check(os.WriteFile(at("plain"), []byte(noise(10_000)), 0o644))
	check(os.Link(at("plain"), at(deep+strings.Repeat("link", 30))))
	check(os.Symlink(strings.Repeat("far/", 100), at("symlink")))
	check(unix.Mknod(at("device"), unix.S_IFBLK|0o640, int(unix.Mkdev(259, 300000))))
	check(unix.Mkfifo(at("fifo"), 0o622))
	check(unix.Setxattr(at("plain"), "user.of mine", []byte("a\x00b\nc=d"), 0))
	check(unix.Setxattr(at(deep), "trusted.dir", []byte(noise(200)), 0))
	check(os.WriteFile(at("setuid"), nil, 0o600))
	check(os.Chown(at("setuid"), 3_000_000, 4_000_000_000))
	check(os.Chmod(at("setuid"), 0o755|os.ModeSetuid))
	for name, islands := range map[string][]int64{
		"sparse":      {0, 1 << 20, 3<<20 + 12345},
		"sparse many": {4096, 65536, 131072, 1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20, 6 << 20, 7 << 20, 8 << 20},
		"all hole":    nil,
	} {
		f, err := os.Create(at(name))
		check(err)
		for _, offset := range islands {
			_, err := f.WriteAt([]byte(noise(5000)), offset)
			check(err)
		}
		check(f.Truncate(20<<20 + 77))
		check(f.Close())
	}
	check(os.Chtimes(at("plain"), time.Time{}, time.Unix(1_500_000_000, 987_654_321)))
	return tree
}

// A file that is larger than 4 GiB, nearly all of it a hole.
func TestLargeFile(t *testing.T) {
	needRoot(t)
	tree := t.TempDir()
	const size = 4<<30 + 200_001
	f, err := os.Create(filepath.Join(tree, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 2<<30 - 3, 4<<30 + 70_000, size - 6} {
		if _, err := f.WriteAt([]byte("island"), at); err != nil {
			t.Fatal(err)
		}
	}
	packed := filepath.Join(t.TempDir(), "a.tar")
	run(t, "tar", "--format=pax", "--sparse", "-C", tree, "-cf", packed, ".")
	in, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	image, info := convert(t, in, erofs.Options{})
	if info.Size > 2<<20 {
		t.Errorf("the image has %d bytes", info.Size)
	}
	same(t, "through the kernel", onDisk(t, mount(t, image)), onDisk(t, extract(t, packed)))
	fsck(t, image)
}
