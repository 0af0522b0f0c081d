package erofs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/abode-run/abode/internal/erofs"
)

// A memory is a file that is never on a disk.
type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if end := int(at) + len(p); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[at:], p), nil
}

func (m *memory) Truncate(size int64) error {
	if int(size) < len(m.data) {
		m.data = m.data[:size]
		return nil
	}
	m.data = append(m.data, make([]byte, int(size)-len(m.data))...)
	return nil
}

// fails converts an archive that must be refused.
func fails(t *testing.T, archive []byte, want error, says ...string) {
	t.Helper()
	failsWith(t, archive, erofs.Options{}, want, says...)
}

func failsWith(t *testing.T, archive []byte, opts erofs.Options, want error, says ...string) {
	t.Helper()
	_, err := erofs.FromTar(context.Background(), &memory{}, bytes.NewReader(archive), opts)
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	for _, s := range append(says, "cannot ") {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestRefused(t *testing.T) {
	huge := strings.Repeat("x", 256)
	for _, c := range []struct {
		name    string
		entries []entry
		err     error
		says    string
	}{
		{"outside", []entry{file("../x", "")}, erofs.ErrTar, `"../x"`},
		{"outside, later", []entry{file("a/../../x", "")}, erofs.ErrTar, "leads outside of the root"},
		{"outside, absolute", []entry{file("/..", "")}, erofs.ErrTar, "leads outside of the root"},
		{"whiteout outside", []entry{file("../.wh.x", "")}, erofs.ErrTar, "leads outside of the root"},
		{"link to outside", []entry{hardlink("a", "../../etc/passwd")}, erofs.ErrTar, `"../../etc/passwd"`},
		{"link to nothing", []entry{hardlink("a", "missing/file")}, erofs.ErrTar, `"missing/file" is not in the archive`},
		{"link to later", []entry{hardlink("a", "b"), file("b", "")}, erofs.ErrTar, `"b"`},
		{"link to directory", []entry{dir("d"), hardlink("a", "d")}, erofs.ErrTar, "is a directory"},
		{"link to root", []entry{hardlink("a", "/")}, erofs.ErrTar, "is a directory"},
		{"link to whiteout", []entry{file(".wh.b", ""), hardlink("a", "b")}, erofs.ErrTar, `"b"`},
		{"link through symlink", []entry{symlink("s", "/etc"), hardlink("a", "s/passwd")}, erofs.ErrTar, `"s/passwd"`},
		{"link below its target", []entry{file("a", ""), hardlink("a/b", "a")}, erofs.ErrTar, "in its way"},
		{"root as a file", []entry{file(".", "")}, erofs.ErrTar, "the root is a directory"},
		{"root as a link", []entry{symlink("/", "etc")}, erofs.ErrTar, "the root is a directory"},
		{"whiteout of nothing", []entry{file("d/.wh.", "")}, erofs.ErrTar, "whiteout"},
		{"whiteout of dot", []entry{file(".wh..", "")}, erofs.ErrTar, "whiteout"},
		{"whiteout of dotdot", []entry{file(".wh...", "")}, erofs.ErrTar, "whiteout"},
		{"below a whiteout", []entry{file(".wh.a/b", "")}, erofs.ErrTar, "whiteouts"},
		{"name too long", []entry{file(huge, "").as(tar.FormatGNU)}, erofs.ErrLimit, "255"},
		{"path too long", []entry{file(strings.Repeat("a/", 2100)+"b", "").as(tar.FormatGNU)}, erofs.ErrLimit, "4096"},
		{"hidden name too long", []entry{file(".wh."+huge, "").as(tar.FormatGNU)}, erofs.ErrLimit, "255"},
		{"symlink too long", []entry{symlink("a", strings.Repeat("a", 4096))}, erofs.ErrTar, "symlink"},
		{"symlink to nothing", []entry{symlink("a", "")}, erofs.ErrTar, "symlink"},
		{"device", []entry{char("a", 1<<12, 0)}, erofs.ErrTar, "4096:0"},
		{"owner", []entry{file("a", "").owned(1<<32-1, 0).as(tar.FormatPAX)}, erofs.ErrTar, "4294967295"},
		{"negative owner", []entry{file("a", "").owned(-1, 0).as(tar.FormatGNU)}, erofs.ErrTar, "-1"},
		{"xattr too large", []entry{file("a", "").attr("user.a", noise(65536))}, erofs.ErrLimit, "user.a"},
		{"xattr's name too long", []entry{file("a", "").attr("user."+huge, "")}, erofs.ErrLimit, "255"},
		{"xattrs too large", []entry{file("a", "").attr("user.a", noise(65535)).attr("user.b", noise(65535)).
			attr("user.c", noise(65535)).attr("user.d", noise(65535))}, erofs.ErrLimit, "together"},
		{"type", []entry{file("a", "").typed('Z')}, erofs.ErrTar, "type 'Z'"},
	} {
		t.Run(c.name, func(t *testing.T) { fails(t, archive(t, c.entries...), c.err, c.says) })
	}
}

func TestLimits(t *testing.T) {
	three := archive(t, file("a", "12"), file("b", "34"), dir("c/d"))
	failsWith(t, three, erofs.Options{MaxEntries: 2}, erofs.ErrLimit, "more than 2 entries")
	failsWith(t, three, erofs.Options{MaxBytes: 3}, erofs.ErrLimit, "more than 3 bytes", `"b"`)
	failsWith(t, three, erofs.Options{MaxMetadata: 300}, erofs.ErrLimit, "300 bytes")
	convert(t, bytes.NewReader(three), erofs.Options{MaxEntries: 3, MaxBytes: 4, MaxMetadata: 2000})
	// A few bytes that say there are many, used or not.
	for _, name := range []string{"a", ".wh.a", ".wh..wh.x"} {
		failsWith(t, sparse(name, 1<<50), erofs.Options{}, erofs.ErrLimit, "1099511627776 bytes")
	}
}

// sparse makes an archive with a file of one hole (PAX, version 0.0).
func sparse(name string, size int64) []byte {
	records := ""
	for _, r := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=0", "GNU.sparse.numblocks=0", fmt.Sprintf("GNU.sparse.size=%d", size)} {
		n := len(r) + 3 // the length counts itself, two digits here
		records += fmt.Sprintf("%d %s\n", n+len(fmt.Sprint(n))-1, r)
	}
	return append(append(header("x", 'x', len(records)), pad(records)...), append(header(name, '0', 0), make([]byte, 1024)...)...)
}

// header is a USTAR header.
func header(name string, kind byte, size int) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", size))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func pad(s string) []byte { return append([]byte(s), make([]byte, (512-len(s)%512)%512)...) }

// However an archive is cut off or spoiled, there is an error or a file system
// that can be read.
func TestCutOff(t *testing.T) {
	whole := archive(t, dir("d"), file("d/a", noise(6000)), symlink("s", strings.Repeat("long/", 60)), hardlink("h", "d/a"))
	for n := 0; n < len(whole); n += 100 {
		image := &memory{}
		info, err := erofs.FromTar(context.Background(), image, bytes.NewReader(whole[:n]), erofs.Options{})
		switch {
		case err == nil && info.Terminated && n <= len(whole)-1024:
			t.Errorf("at %d: taken for whole", n)
		case err == nil:
			inImage(t, bytes.NewReader(image.data))
		case !errors.Is(err, erofs.ErrTar):
			t.Errorf("at %d: got %v, want ErrTar", n, err)
		}
	}
	fails(t, whole[:3000], io.ErrUnexpectedEOF, `"d/a"`)
	fails(t, []byte(strings.Repeat("not a tar", 200)), erofs.ErrTar, "entry 1")
}

func TestReaderFails(t *testing.T) {
	whole := archive(t, file("a", noise(100_000)))
	broken := errors.New("the line is broken")
	for _, n := range []int{0, 100, 512, 50_000, len(whole)} {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))
		_, err := erofs.FromTar(context.Background(), &memory{}, r, erofs.Options{})
		if !errors.Is(err, broken) || errors.Is(err, erofs.ErrTar) {
			t.Errorf("after %d bytes: got %v, want the reader's error", n, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := erofs.FromTar(ctx, &memory{}, bytes.NewReader(whole), erofs.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

// A full is a disk that takes no more.
type full struct {
	memory
	left int
}

var errFull = errors.New("disk full")

func (f *full) WriteAt(p []byte, at int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return f.memory.WriteAt(p, at)
}

func TestWriteFails(t *testing.T) {
	in := archive(t, file("a", noise(3<<20)), file("b", noise(3<<20)), dir("d"), hardlink("l", "a"))
	for left := 0; left < 6<<20; left += 100_000 {
		_, err := erofs.FromTar(context.Background(), &full{left: left}, bytes.NewReader(in), erofs.Options{})
		if !errors.Is(err, errFull) || errors.Is(err, erofs.ErrTar) {
			t.Fatalf("with %d bytes: got %v, want that the disk is full", left, err)
		}
	}
}
