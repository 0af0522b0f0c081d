package copy

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stream makes a tar of entries; those of type regular hold their name.
func stream(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && p != dir {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTarget(t *testing.T) {
	file, dir, none := Place{Path: "/d", Exists: true}, Place{Path: "/d", Exists: true, IsDir: true}, Place{Path: "/d"}
	slash := Place{Path: "/d/"}
	for _, c := range []struct {
		source string
		isDir  bool
		dst    Place
		want   string // "" for an error
	}{
		{"/s/f", false, none, "/d"},
		{"/s/f", false, slash, ""},
		{"/s/f", false, file, "/d"},
		{"/s/f", false, dir, "/d/f"},
		{"/s/d", true, none, "/d"},
		{"/s/d", true, slash, "/d"},
		{"/s/d/.", true, none, "/d"},
		{"/s/d", true, file, ""},
		{"/s/d", true, dir, "/d/d"},
		{"/s/d/", true, dir, "/d/d"},
		{"/s/d/.", true, dir, "/d"},
		{"/", true, dir, "/d"},
		{".", true, dir, "/d"},
		{"/s/f", false, Place{Path: "/d/", Exists: true}, ""},
	} {
		got, err := Target(c.source, c.isDir, c.dst)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s (directory: %v) to %+v is %q, %v; want %q", c.source, c.isDir, c.dst, got, err, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/x": {"web", "/x"}, "web:x": {"web", "x"}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"}, "../a:b": {"", "../a:b"}, "a": {"", "a"}, "-": {"", "-"}, "web:": {"web", ""},
	} {
		if c, f := Split(arg); c != want[0] || f != want[1] {
			t.Errorf("%s is %q, %q", arg, c, f)
		}
	}
}

// What is packed is there again after unpacking: names, content, modes,
// times, links of both kinds, pipes.
func TestRoundTrip(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	for _, d := range []string{src, src + "/sub"} {
		if err := os.Mkdir(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("long", 60)
	must(os.WriteFile(src+"/sub/file", []byte("content"), 0o640))
	must(os.WriteFile(src+"/"+long, nil, 0o600))
	must(os.Link(src+"/sub/file", src+"/second"))
	must(os.Symlink("/etc/passwd", src+"/link"))
	must(unix.Mkfifo(src+"/pipe", 0o600))
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(os.Chtimes(src+"/sub/file", at, at))
	must(os.Chtimes(src+"/sub", at, at))
	for _, root := range []string{"root", "."} {
		var b bytes.Buffer
		must(Pack(&b, src, root))
		dst := filepath.Join(t.TempDir(), "dst")
		must(Unpack(&b, dst, Options{}))
		if got, want := tree(t, dst), tree(t, src); !slices.Equal(got, want) {
			t.Errorf("the tree is %q, want %q", got, want)
		}
		if data, err := os.ReadFile(dst + "/sub/file"); string(data) != "content" {
			t.Errorf("the content is %q, %v", data, err)
		}
		for _, name := range []string{"/sub", "/sub/file"} {
			st, err := os.Stat(dst + name)
			must(err)
			if !st.ModTime().Equal(at) {
				t.Errorf("%s is of %v", name, st.ModTime())
			}
		}
		st, err := os.Stat(dst + "/sub/file")
		must(err)
		second, err := os.Stat(dst + "/second")
		must(err)
		if st.Mode() != 0o640 || !os.SameFile(st, second) {
			t.Errorf("mode %v, one file: %v", st.Mode(), os.SameFile(st, second))
		}
		if target, _ := os.Readlink(dst + "/link"); target != "/etc/passwd" {
			t.Errorf("the link leads to %q", target)
		}
		if st, _ := os.Lstat(dst + "/pipe"); st.Mode()&fs.ModeNamedPipe == 0 {
			t.Errorf("the pipe is %v", st.Mode())
		}
	}
}

// A stream may try whatever it likes: nothing outside of the target changes.
func TestUnpackHostile(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"dots":               {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/../../out/x"}},
		"absolute":           {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "/out/x"}},
		"another root":       {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "other"}},
		"through a link":     {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../out"}, {Name: "d/l/x"}},
		"an absolute link":   {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "OUT"}, {Name: "d/l/x"}},
		"over a link":        {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../out/secret"}, {Name: "d/l"}},
		"a hard link out":    {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: "../out/secret"}},
		"a hard link to one": {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../out/secret"}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/l"}},
		"the root a link":    {{Name: "d", Typeflag: tar.TypeSymlink, Linkname: "../out"}, {Name: "d/x"}},
		"a directory a link": {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../out"}, {Name: "d/l/", Typeflag: tar.TypeDir, Mode: 0o777}},
		"a pipe in a link":   {{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../out"}, {Name: "d/l/p", Typeflag: tar.TypeFifo}},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			out, in := filepath.Join(base, "out"), filepath.Join(base, "in")
			for _, d := range []string{out, in} {
				if err := os.Mkdir(d, 0o750); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(out+"/secret", []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range entries {
				entries[i].Linkname = strings.ReplaceAll(entries[i].Linkname, "OUT", out)
			}
			err := Unpack(stream(t, entries...), filepath.Join(in, "target"), Options{})
			if got := tree(t, out); !slices.Equal(got, []string{"secret"}) {
				t.Errorf("outside there is now %q (%v)", got, err)
			}
			if data, _ := os.ReadFile(out + "/secret"); string(data) != "secret" {
				t.Errorf("the file outside is now %q (%v)", data, err)
			}
			st, serr := os.Stat(out)
			if serr != nil || st.Mode().Perm() != 0o750 {
				t.Errorf("the directory outside is now %v", st.Mode())
			}
			if secret, _ := os.Stat(out + "/secret"); secret != nil {
				for _, name := range tree(t, in) {
					if st, err := os.Lstat(filepath.Join(in, name)); err == nil && os.SameFile(st, secret) {
						t.Errorf("%s is the file outside", name)
					}
				}
			}
			if got := tree(t, base); slices.ContainsFunc(got, func(n string) bool {
				return !strings.HasPrefix(n, "out") && n != "in" && n != "in/target" && !strings.HasPrefix(n, "in/target/")
			}) {
				t.Errorf("there is now %q", got)
			}
		})
	}
}

// Rights of other users and devices do not come along.
func TestUnpackRights(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "d")
	var skipped []string
	err := Unpack(stream(t,
		tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 12345, Gid: 12345},
		tar.Header{Name: "d/su", Mode: 0o4755, Uid: 12345, Gid: 12345},
		tar.Header{Name: "d/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
	), dst, Options{Skipped: func(name string) { skipped = append(skipped, name) }})
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(dst + "/su")
	if err != nil {
		t.Fatal(err)
	}
	var raw unix.Stat_t
	if err := unix.Stat(dst+"/su", &raw); err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o755 || int(raw.Uid) != os.Geteuid() {
		t.Errorf("the file is %v of user %d", st.Mode(), raw.Uid)
	}
	if !slices.Equal(skipped, []string{"d/null"}) || !slices.Equal(tree(t, dst), []string{"su"}) {
		t.Errorf("skipped are %q, made %q", skipped, tree(t, dst))
	}
}

func TestUnpackArchive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dst := filepath.Join(t.TempDir(), "f")
	if err := Unpack(stream(t, tar.Header{Name: "su", Mode: 0o4755, Uid: 12345, Gid: 54321}), dst, Options{Archive: true}); err != nil {
		t.Fatal(err)
	}
	var raw unix.Stat_t
	if err := unix.Stat(dst, &raw); err != nil {
		t.Fatal(err)
	}
	if raw.Uid != 12345 || raw.Gid != 54321 || raw.Mode&0o7777 != 0o4755 {
		t.Errorf("the file is %o of %d:%d", raw.Mode, raw.Uid, raw.Gid)
	}
}

// Into a directory that exists: files are replaced, not written through, and
// a directory is never replaced by something else.
func TestUnpackOver(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	for name, content := range map[string]string{"other": "other", "f": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "l"} {
		if err := Unpack(stream(t, tar.Header{Name: "new"}), filepath.Join(dir, name), Options{}); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(filepath.Join(dir, name)); string(data) != "new" {
			t.Errorf("%s is %q", name, data)
		}
	}
	if data, _ := os.ReadFile(other); string(data) != "other" {
		t.Errorf("it was written through the link: %q", data)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.MkdirAll(sub+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(stream(t, tar.Header{Name: "sub/", Typeflag: tar.TypeDir, Mode: 0o777}, tar.Header{Name: "sub/x"}), sub, Options{}); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if st, _ := os.Stat(sub); st.Mode().Perm() != 0o700 {
		t.Errorf("the mode of the directory that was there is %v", st.Mode())
	}
}
