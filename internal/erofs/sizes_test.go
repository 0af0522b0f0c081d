package erofs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// Where things stop to fit: a file's end behind its inode, a target behind its
// symlink, a name into a block of a directory, xattrs into a block.
func TestSizes(t *testing.T) {
	entries, want := sizes()
	check(t, archive(t, entries...), want)
}

func sizes() (entries []entry, want snapshot) {
	want = snapshot{"/": {mode: unix.S_IFDIR | 0o755, nlink: 2}}
	add := func(e entry) {
		entries = append(entries, e)
		s := state{mode: unix.S_IFREG | 0o644, nlink: 1, content: describe([]byte(e.data)), xattrs: map[string]string{}}
		if e.Typeflag == tar.TypeSymlink {
			s.mode, s.content = unix.S_IFLNK, describe([]byte(e.Linkname))
		}
		for k, v := range e.PAXRecords {
			s.xattrs[strings.TrimPrefix(k, "SCHILY.xattr.")] = v
		}
		want["/"+e.Name] = s
	}
	const room = 4096 - 64 // behind an inode
	for _, around := range []int{0, 64, room, 4096, 4096 + room, 16 << 10, 64 << 10, 64<<10 + room, 128 << 10, 2 << 20, 2<<20 + room, 5 << 20} {
		for n := max(0, around-2); n <= around+2; n++ {
			add(file(fmt.Sprintf("file %d", n), noise(n)))
		}
	}
	for _, around := range []int{8192, 16 << 10, 20 << 10, 64 << 10, 68 << 10, 72 << 10, 128 << 10, 1 << 20, 2<<20 + 8192} {
		for _, n := range []int{around - 4096, around - 1, around, around + 1, around + 4096} {
			add(file(fmt.Sprintf("prose %d", n), prose(n)))
			add(file(fmt.Sprintf("prose with an xattr %d", n), prose(n)).attr("user.x", noise(n%50)))
		}
		add(file(fmt.Sprintf("prose and noise %d", around), prose(around)+noise(around/2)+prose(around)))
		add(file(fmt.Sprintf("noise and prose %d", around), noise(around)+prose(around/3)+noise(100_000)))
	}
	for n := room - 20; n <= room; n++ { // a header and an entry of xattrs take 17 to 20 bytes
		add(file(fmt.Sprintf("with an xattr %d", n), noise(n)).attr("user.x", ""))
	}
	for _, n := range []int{1, 59, 60, 61, room - 1, room, room + 1, 4095} {
		add(symlink(fmt.Sprintf("symlink %d", n), strings.Repeat("t", n)))
		add(symlink(fmt.Sprintf("symlink with an xattr %d", n), strings.Repeat("t", n)).attr("trusted.x", "y"))
	}
	for _, n := range []int{room - 40, room - 20, room, 4096, 8192, 65535} {
		add(file(fmt.Sprintf("xattr %d", n), noise(100)).attr("user.x", noise(n)))
		add(symlink(fmt.Sprintf("symlink with a large xattr %d", n), "t").attr("trusted.x", noise(n)))
	}
	many := file("many xattrs", noise(9000))
	for i := range 300 {
		many = many.attr(fmt.Sprintf("user.%d", i), noise(i))
	}
	add(many)
	return entries, want
}

// Directories of every size around what fits a block, and large ones.
func TestDirectories(t *testing.T) {
	entries, want := directories()
	check(t, archive(t, entries...), want)
}

func directories() (entries []entry, want snapshot) {
	want = snapshot{}
	root := state{mode: unix.S_IFDIR | 0o755, nlink: 2}
	add := func(name string, files, length int) {
		root.nlink++
		want["/"+name] = state{mode: unix.S_IFDIR | 0o755, nlink: 2}
		for i := range files {
			path := fmt.Sprintf("%s/%0*d", name, length, i*7919%files)
			entries = append(entries, file(path, ""))
			want["/"+path] = state{mode: unix.S_IFREG | 0o644, nlink: 1, content: `""`}
		}
	}
	// "." and ".." take 27 bytes, a name of 20 takes 32: 125 fit behind an
	// inode, 127 a block.
	for _, n := range []int{1, 124, 125, 126, 127, 128, 250, 253, 254, 255, 380} {
		add(fmt.Sprintf("d%d", n), n, 20)
	}
	add("long", 300, 255)
	add("large", 50_000, 9)
	want["/"] = root
	return entries, want
}

// The root directory has block 0 alone to stand in, behind the superblock.
func TestRootSizes(t *testing.T) {
	const room = 4096 - 1024 - 128 - 64
	for _, size := range []int{room - 1, room, room + 1, 4095, 4096, 4097, 9000} {
		var entries []entry
		want := snapshot{"/": {mode: unix.S_IFDIR | 0o755, nlink: 2}}
		for left, i := size-27, 0; left >= 13; i++ {
			length := min(200, left-12)
			if rest := left - 12 - length; rest > 0 && rest < 20 {
				length -= 20
			}
			left -= 12 + length
			name := fmt.Sprintf("%0*d", length, i)
			entries = append(entries, file(name, ""))
			want["/"+name] = state{mode: unix.S_IFREG | 0o644, nlink: 1, content: `""`}
		}
		check(t, archive(t, entries...), want)
	}
	// Its xattrs cannot stand elsewhere.
	fits := dir(".").attr("user.x", noise(room-20))
	compressed := erofs.Options{Compress: true} // its configuration stands there, too
	failsWith(t, archive(t, fits), compressed, erofs.ErrLimit, "the root directory's extended attributes")
	write(t, bytes.NewReader(archive(t, dir(".").attr("user.x", noise(room-20-32)))), compressed)
	checkPlain(t, archive(t, fits, file("a", "b")), snapshot{
		"/":  {mode: unix.S_IFDIR | 0o755, nlink: 2, xattrs: map[string]string{"user.x": noise(room - 20)}},
		"/a": {mode: unix.S_IFREG | 0o644, nlink: 1, content: `"b"`},
	})
	fails(t, archive(t, dir(".").attr("user.x", noise(room))), erofs.ErrLimit, "the root directory's extended attributes")
}

// No file's bytes stand anywhere but in that file: what does not fill a block
// is followed by zeros, which mmap(2) shows.
func TestNothingLeaks(t *testing.T) {
	const mark = "this is a secret"
	secret := strings.Repeat(mark, 3<<20/len(mark))
	short := func(name string) entry { // a block of its own, mostly empty
		return file(name, noise(100)).attr("user.x", noise(3990))
	}
	in := archive(t,
		file("a", "opens a block for ends of files"), file("b", secret[:1600]), short("c"), file("d", secret[:3200]), short("e"),
		file("f", secret), short("g"), file("h", secret[:4096+80]), dir("i"), file("j", secret+secret), short("k"),
	)
	image, _ := convert(t, bytes.NewReader(in), erofs.Options{})
	got, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if n, want := bytes.Count(got, []byte(mark)), bytes.Count(in, []byte(mark)); n > want {
		t.Errorf("the image has the secret %d times, the archive %d times", n, want)
	}
}

// What can be compressed is, but no program.
func TestCompressed(t *testing.T) {
	const size = 8 << 20
	blocks := func(e entry) int64 {
		_, info := write(t, bytes.NewReader(archive(t, e)), erofs.Options{Compress: true})
		return info.Size
	}
	if n := blocks(file("prose", prose(size))); n > size*2/3 {
		t.Errorf("a text of %d bytes takes %d", size, n)
	}
	if n := blocks(file("noise", noise(size))); n > size+16<<10 {
		t.Errorf("noise of %d bytes takes %d", size, n)
	}
	if n := blocks(file("program", "\x7fELF"+prose(size)).mode(0o755)); n < size {
		t.Errorf("a program of %d bytes takes %d", size, n)
	}
	if n := blocks(file("library", "\x7fELF"+prose(size))); n > size*2/3 {
		t.Errorf("a library of %d bytes takes %d", size, n)
	}
}

// What is empty takes no room, in the image or on the disk.
func TestHolesTakeNoRoom(t *testing.T) {
	data := "start" + strings.Repeat("\x00", 100<<20) + "end"
	for _, opts := range []erofs.Options{{}, {Compress: true, Recipe: true}} {
		holesTakeNoRoom(t, data, opts)
	}
}

func holesTakeNoRoom(t *testing.T, data string, opts erofs.Options) {
	image, info := write(t, bytes.NewReader(archive(t, file("holey", data))), opts)
	if info.Size > 256<<10 {
		t.Errorf("the image has %d bytes", info.Size)
	}
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 256<<10 {
		t.Errorf("the image takes %d bytes of the disk", st.Blocks*512)
	}
	got, err := os.ReadFile(filepath.Join(mount(t, image), "holey"))
	if err != nil || string(got) != data {
		t.Errorf("the file reads back differently (%d bytes, %v)", len(got), err)
	}
}
