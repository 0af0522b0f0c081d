package erofs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/erofs"
)

// noise returns n bytes without a block of zeros.
func noise(n int) string {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(p)
	return string(p)
}

// A feature is an archive and the tree that it stands for.
type feature struct {
	name    string
	entries []entry
	want    string
}

var long = strings.Repeat("n", 255)

func features() []feature {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	holey := noise(5000) + zeros(300_000) + noise(70_000) + zeros(200_000)
	return []feature{
		{"empty", nil, `
/ dir 0755 x2
`},
		{"root", []entry{dir("./").mode(0o1700).owned(3, 4).at(77, 5).attr("user.a", "b")}, `
/ dir 1700 3:4 @77.000000005 user.a="b" x2
`},
		{"types", []entry{
			file("file", "hello"), dir("dir"), symlink("symlink", "../x y"), char("null", 1, 3),
			char("large", 4095, 1<<20-1).typed(tar.TypeBlock), char("fifo", 0, 0).typed(tar.TypeFifo),
			file("cont", "old").typed(tar.TypeCont),
		}, `
/ dir 0755 x3
/cont file 0644 "old"
/dir dir 0755 x2
/fifo fifo 0600
/file file 0644 "hello"
/large block 0600 4095:1048575
/null char 0600 1:3
/symlink symlink "../x y"
`},
		{"modes", []entry{
			file("setuid", "").mode(0o4755), file("setgid", "").mode(0o2711), dir("sticky").mode(0o1777),
			file("none", "").mode(0), file("type bits", "").mode(0o100640),
		}, `
/ dir 0755 x3
/none file 0000 ""
/setgid file 2711 ""
/setuid file 4755 ""
/sticky dir 1777 x2
/type bits file 0640 ""
`},
		{"owners and times", []entry{
			file("nobody", "").owned(65534, 65534), file("largest", "").owned(1<<32-2, 1<<32-2).as(tar.FormatPAX),
			file("nano", "").at(1_700_000_000, 123_456_789), file("before 1970", "").at(-5, 250_000_000),
			file("after 2106", "").at(1<<33, 1), symlink("link", "x").owned(1, 2).at(9, 9), dir("dir").owned(5, 6).at(8, 8),
		}, `
/ dir 0755 x3
/after 2106 file 0644 @8589934592.000000001 ""
/before 1970 file 0644 @-5.250000000 ""
/dir dir 0755 5:6 @8.000000008 x2
/largest file 0644 4294967294:4294967294 ""
/link symlink 1:2 @9.000000009 "x"
/nano file 0644 @1700000000.123456789 ""
/nobody file 0644 65534:65534 ""
`},
		{"implicit parents", []entry{file("a/b/c", "x"), dir("a").mode(0o700).at(5, 0), file("/abs/./d//e/../f", "y")}, `
/ dir 0755 x4
/a dir 0700 @5.000000000 x3
/a/b dir 0755 x2
/a/b/c file 0644 "x"
/abs dir 0755 x3
/abs/d dir 0755 x2
/abs/d/f file 0644 "y"
`},
		{"hard links", []entry{
			file("a", "one").owned(7, 8), hardlink("d/b", "a"), hardlink("c", "./d/b"), symlink("s", "a"), hardlink("s2", "s"),
			char("null", 1, 3), hardlink("null2", "/null"), hardlink("a", "a"),
		}, `
/ dir 0755 x3
/a file 0644 7:8 "one" x3 is /a
/c file 0644 7:8 "one" x3 is /a
/d dir 0755 x2
/d/b file 0644 7:8 "one" x3 is /a
/null char 0600 1:3 x2 is /null
/null2 char 0600 1:3 x2 is /null
/s symlink "a" x2 is /s
/s2 symlink "a" x2 is /s
`},
		{"the last entry wins", []entry{
			file("f", "1"), hardlink("g", "f"), file("f", "2"),
			file("to dir", "x"), dir("to dir"), file("to dir/in", "x"),
			dir("to file"), file("to file/in", "x"), file("to file", "y"),
			file("back", "1"), dir("back"), file("back/in", "2"), file("back", "3"),
			dir("stays"), file("stays/in", "x"), dir("stays").mode(0o700),
			file("below", "x"), file("below/in/side", "y"),
			symlink("link", "/etc"), file("link/passwd", "mine"),
		}, `
/ dir 0755 x6
/back file 0644 "3"
/below dir 0755 x3
/below/in dir 0755 x2
/below/in/side file 0644 "y"
/f file 0644 "2"
/g file 0644 "1"
/link dir 0755 x2
/link/passwd file 0644 "mine"
/stays dir 0700 x2
/stays/in file 0644 "x"
/to dir dir 0755 x2
/to dir/in file 0644 "x"
/to file file 0644 "y"
`},
		{"whiteouts", []entry{
			file("d/.wh.gone", ""), file(".wh.also", "ignored data"), dir("o"), file("o/.wh..wh..opq", ""), file("o/new", "x"),
			file(".wh..wh.aufs", ""), file(".wh..wh.plnk/1.2", "x"), file("n/.wh..wh..opq", ""),
			file("kept", "x"), file(".wh.kept", ""), file(".wh.kept2", ""), file("kept2", "x"),
			dir("redone"), file(".wh.redone", ""), file(".wh.redone2", ""), dir("redone2"), file(".wh.redone3", ""), file("redone3/x", ""),
		}, `
/ dir 0755 x8
/also char 0000 0:0 x2 is /also
/d dir 0755 x2
/d/gone char 0000 0:0 x2 is /also
/kept file 0644 "x"
/kept2 file 0644 "x"
/n dir 0755 trusted.overlay.opaque="y" x2
/o dir 0755 trusted.overlay.opaque="y" x2
/o/new file 0644 "x"
/redone dir 0755 trusted.overlay.opaque="y" x2
/redone2 dir 0755 trusted.overlay.opaque="y" x2
/redone3 dir 0755 trusted.overlay.opaque="y" x2
/redone3/x file 0644 ""
`},
		{"extended attributes", []entry{
			file("cap", "").attr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
			dir("d").attr("user.one", "1").attr("user.two", "").attr("trusted.three", "\x00"),
			symlink("s", "t").attr("trusted.on", "a symlink"),
			file("dropped", "").attr("com.apple.provenance", "x").attr("trusted.overlay.redirect", "/etc").attr("user.overlay.opaque", "y"),
			file("in line", noise(3900)).attr("user.x", noise(1000)[:50]),
		}, `
/ dir 0755 x3
/cap file 0644 "" security.capability="\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
/d dir 0755 trusted.three="\x00" user.one="1" user.two="" x2
/dropped file 0644 ""
/in line file 0644 ` + describe([]byte(noise(3900))) + fmt.Sprintf(" user.x=%q", noise(1000)[:50]) + `
/s symlink "t" trusted.on="a symlink"
`},
		{"names", []entry{
			file("!before the dots", ""), file("-", ""), file("...", ""), file("..a", ""), file("\xff\xfe", "").as(tar.FormatGNU), file("ü", ""),
			file("new\nline", ""), file(long, "").as(tar.FormatGNU), dir(strings.Repeat(long+"/", 3)), symlink("far", strings.Repeat("t/", 2000)),
			file("x/wh.not", ""), file("x/a.wh.b", ""),
		}, `
/ dir 0755 x4
/!before the dots file 0644 ""
/- file 0644 ""
/... file 0644 ""
/..a file 0644 ""
/far symlink ` + describe([]byte(strings.Repeat("t/", 2000))) + `
/new
line file 0644 ""
/` + long + ` dir 0755 x3
/` + long + `/` + long + ` dir 0755 x3
/` + long + `/` + long + `/` + long + ` dir 0755 x2
/x dir 0755 x2
/x/a.wh.b file 0644 ""
/x/wh.not file 0644 ""
/ü file 0644 ""
/` + "\xff\xfe" + ` file 0644 ""
`},
		{"holes", []entry{
			file("holey", holey), file("zero block", zeros(4096)), file("zero byte", zeros(1)), file("zeros", zeros(1<<20+7)),
			file("end", noise(65536)+zeros(5)), file("small hole", noise(4096)+zeros(40_000)+noise(10)),
		}, `
/ dir 0755 x2
/end file 0644 ` + describe([]byte(noise(65536)+zeros(5))) + `
/holey file 0644 ` + describe([]byte(holey)) + `
/small hole file 0644 ` + describe([]byte(noise(4096)+zeros(40_000)+noise(10))) + `
/zero block file 0644 4096 zeros
/zero byte file 0644 "\x00"
/zeros file 0644 1048583 zeros
`},
	}
}

// Each feature, as the kernel, another reader and the checker see it.
func TestFeatures(t *testing.T) {
	for _, f := range features() {
		t.Run(f.name, func(t *testing.T) {
			check(t, archive(t, f.entries...), text(f.want))
		})
	}
}

// check converts an archive and compares what all readers find with want.
func check(t testing.TB, archive []byte, want fmt.Stringer) {
	t.Helper()
	image, info := convert(t, bytes.NewReader(archive), erofs.Options{})
	checkImage(t, image, info, want)
}

// checkPlain is check without the compressed form.
func checkPlain(t testing.TB, archive []byte, want fmt.Stringer) {
	t.Helper()
	image, info := write(t, bytes.NewReader(archive), erofs.Options{})
	checkImage(t, image, info, want)
}

func checkImage(t testing.TB, image string, info erofs.Info, want fmt.Stringer) {
	t.Helper()
	if !info.Terminated {
		t.Error("Info says that the archive has no end marker")
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := inImage(t, f)
	same(t, "in the image", found, want)
	inodes := map[uint64]bool{}
	for _, s := range found {
		inodes[s.ino] = true
	}
	if info.Files != len(inodes) {
		t.Errorf("Info says %d files, there are %d", info.Files, len(inodes))
	}
	same(t, "through the kernel", onDisk(t, mount(t, image)), want)
	fsck(t, image)
}
