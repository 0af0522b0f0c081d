package kernels

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/ulikunitz/xz"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "kernels"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.boot, s.lib = t.TempDir(), t.TempDir()
	return s
}

// bzImage is the least that passes for one.
func bzImage(release string) []byte {
	b := make([]byte, 4096)
	copy(b[0x202:], "HdrS")
	b[0x20e], b[0x20f] = 0x00, 0x04 // 0x400 + 0x200
	copy(b[0x600:], release+" (someone) #1")
	return b
}

func file(name string, content []byte) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}
}

type entry struct {
	tar.Header
	content []byte
}

func deb(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var data bytes.Buffer
	x, err := xz.NewWriter(&data)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(x)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), x.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.WriteString(arMagic)
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.xz", []byte("odd")}, {"data.tar.xz", data.Bytes()}} {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		out.Write(m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func TestImportAndUse(t *testing.T) {
	s := open(t)
	if _, err := s.Get(""); err == nil || !strings.Contains(err.Error(), InstallCommand) || !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("without a kernel: %v", err)
	}
	for _, r := range []string{"6.1.0-1", "6.1.0-2"} {
		img := bzImage(r)
		pkg := deb(t, entry{file("./boot/vmlinuz-"+r, img), img}, entry{file("./lib/modules/"+r+"/kernel/a.ko", []byte("A")), []byte("A")})
		k, err := s.Import(t.Context(), bytes.NewReader(pkg), "", "x.deb", nil)
		if err != nil || k.Name != r || k.Release != r {
			t.Fatalf("import: %+v %v", k, err)
		}
		if b, _ := os.ReadFile(filepath.Join(k.Modules, "a.ko")); string(b) != "A" {
			t.Fatalf("module holds %q", b)
		}
		if _, err := s.Import(t.Context(), bytes.NewReader(pkg), "", "x.deb", nil); !errdefs.IsAlreadyExists(err) {
			t.Fatalf("second import: %v", err)
		}
	}
	if k, err := s.Get(""); err != nil || k.Name != "6.1.0-2" {
		t.Fatalf("the newest is not the default: %+v %v", k, err)
	}
	if err := s.Use("6.1.0-1"); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Get(""); err != nil || k.Name != "6.1.0-1" || !k.Default {
		t.Fatalf("default after use: %+v %v", k, err)
	}
	if err := s.Remove("6.1.0-1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("6.1.0-1"); !errdefs.IsNotFound(err) {
		t.Fatalf("second remove: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || !list[0].Default {
		t.Fatalf("list after remove: %+v %v", list, err)
	}
}

func TestHostile(t *testing.T) {
	img := bzImage("6.1.0-1")
	image := entry{file("boot/vmlinuz-6.1.0-1", img), img}
	mod := entry{file("lib/modules/a.ko", []byte("A")), []byte("A")}
	bad := []byte("not a kernel, whatever its name says")
	cases := map[string][]byte{
		"no image":      deb(t, mod),
		"no modules":    deb(t, image),
		"two images":    deb(t, image, entry{file("vmlinuz", img), img}, mod),
		"module twice":  deb(t, image, mod, entry{file("other/a.ko", []byte("B")), []byte("B")}),
		"not a bzImage": deb(t, entry{file("vmlinuz", bad), bad}, mod),
		"odd release":   deb(t, entry{file("vmlinuz", bzImage("../../x")), bzImage("../../x")}, mod),
		"link as image": deb(t, entry{tar.Header{Name: "vmlinuz", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}, nil}, mod),
		"empty":         {},
		"only magic":    []byte(arMagic),
		"huge member":   []byte(arMagic + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10s`\n", "x", 0, 0, 0, "100644", "9999999999")),
		"minus member":  []byte(arMagic + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10s`\n", "x", 0, 0, 0, "100644", "-9")),
		"cut short":     deb(t, image, mod)[:400],
	}
	for name, pkg := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if k, err := s.Import(t.Context(), bytes.NewReader(pkg), "", "x.deb", nil); err == nil {
				t.Fatalf("accepted: %+v", k)
			}
			if left, _ := os.ReadDir(s.dir); len(left) != 0 {
				t.Fatalf("left behind: %v", left)
			}
		})
	}
}

func TestNamesStayInside(t *testing.T) {
	s := open(t)
	img := bzImage("6.1.0-1")
	pkg := deb(t,
		entry{file("../../../boot/vmlinuz-6.1.0-1", img), img},
		entry{file("/abs/../../../../lib/b.ko", []byte("B")), []byte("B")},
		entry{tar.Header{Name: "lib/c.ko", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, nil},
		entry{file("lib/.hidden.ko", []byte("H")), []byte("H")})
	k, err := s.Import(t.Context(), bytes.NewReader(pkg), "", "x.deb", nil)
	if err != nil {
		t.Fatal(err)
	}
	mods, _ := os.ReadDir(k.Modules)
	if len(mods) != 1 || mods[0].Name() != "b.ko" {
		t.Fatalf("modules: %v", mods)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := open(t)
		if _, err := s.Import(t.Context(), bytes.NewReader(b), "", "x", nil); err != nil {
			if left, _ := os.ReadDir(s.dir); len(left) != 0 {
				t.Fatalf("left behind: %v", left)
			}
		}
	})
}
