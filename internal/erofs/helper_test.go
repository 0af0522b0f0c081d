package erofs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// An entry is a tar entry and its data.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func dir(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

func char(name string, major, minor int64) entry {
	return entry{tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o600, Devmajor: major, Devminor: minor}, ""}
}

// The following change an entry in one respect.

func (e entry) mode(m int64) entry       { e.Mode = m; return e }
func (e entry) typed(flag byte) entry    { e.Typeflag = flag; return e }
func (e entry) owned(uid, gid int) entry { e.Uid, e.Gid = uid, gid; return e }
func (e entry) at(sec, nsec int64) entry {
	e.ModTime = time.Unix(sec, nsec)
	e.Format = tar.FormatPAX
	return e
}
func (e entry) as(format tar.Format) entry { e.Format = format; return e }
func (e entry) attr(name, value string) entry {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range e.PAXRecords {
		records[k] = v
	}
	e.PAXRecords = records
	return e
}

// archive makes a tar of entries.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		if e.ModTime.IsZero() {
			e.ModTime = time.Unix(0, 0)
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("header of %q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatalf("data of %q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// convert writes the archive to a file and returns its path. It writes another
// one in the form that layers have, which must be the same tree, and give the
// archive back.
func convert(t testing.TB, archive io.Reader, opts erofs.Options) (string, erofs.Info) {
	t.Helper()
	in, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	path, info := write(t, bytes.NewReader(in), opts)
	opts.Compress, opts.Recipe = true, true
	layer, layerInfo := write(t, bytes.NewReader(in), opts)
	gives(t, layer, in)
	if layerInfo.Files != info.Files || layerInfo.Terminated != info.Terminated {
		t.Errorf("without compression %+v, with it %+v", info, layerInfo)
	}
	if os.Getuid() == 0 {
		same(t, "compressed, through the kernel", onDisk(t, mount(t, layer)), onDisk(t, mount(t, path)))
		fsck(t, layer)
	}
	return path, info
}

// write writes the archive to a file and returns its path.
func write(t testing.TB, archive io.Reader, opts erofs.Options) (string, erofs.Info) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.erofs")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := erofs.FromTar(context.Background(), f, archive, opts)
	if err != nil {
		t.Fatalf("FromTar: %v", err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != info.Size || info.Size%4096 != 0 {
		t.Fatalf("FromTar says %d bytes, the file has %d (%v)", info.Size, st.Size(), err)
	}
	return path, info
}

// gives fails the test unless the image gives the archive back.
func gives(t testing.TB, image string, archive []byte) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if err := erofs.WriteTar(context.Background(), &b, f); err != nil {
		t.Fatalf("WriteTar: %v", err)
	}
	if !bytes.Equal(b.Bytes(), archive) {
		t.Fatalf("the image gives another archive of %d bytes than the one of %d", b.Len(), len(archive))
	}
	if p, err := erofs.Examine(f); err != nil || p.Tar != int64(len(archive)) {
		t.Fatalf("Examine says that the archive has %d bytes (%v)", p.Tar, err)
	}
}

// needRoot skips a test that mounts.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("this test mounts file systems: run it as root")
	}
}

// mount mounts an image, from its file where the kernel can (Linux 6.12), else
// from a loop device, until the test ends.
func mount(t testing.TB, image string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	mountAt(t, image, dir)
	unmountAtEnd(t, dir)
	return dir
}

func mountAt(t failer, image, dir string) {
	t.Helper()
	err := unix.Mount(image, dir, "erofs", unix.MS_RDONLY, "")
	if errors.Is(err, unix.ENOTBLK) {
		var out []byte
		if out, err = exec.Command("mount", "-t", "erofs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		t.Fatalf("cannot mount %s: %v", image, err)
	}
}

// mountLoop mounts an image from a loop device.
func mountLoop(t testing.TB, image string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	run(t, "mount", "-t", "erofs", "-o", "loop,ro", image, dir)
	unmountAtEnd(t, dir)
	return dir
}

func unmountAtEnd(t testing.TB, dir string) {
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("cannot unmount %s: %v", dir, err)
		}
	})
}

// run runs a program that must succeed, and returns its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// fsck runs erofs-utils' checker over an image.
func fsck(t testing.TB, image string) {
	t.Helper()
	if _, err := exec.LookPath("fsck.erofs"); err != nil {
		t.Log("fsck.erofs is missing (package erofs-utils): not checked with it")
		return
	}
	run(t, "fsck.erofs", "--extract", image)
}
