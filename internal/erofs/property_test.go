package erofs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/abode-run/abode/internal/erofs"
)

// A model is a tree as a flat list of paths; names of one file share a state.
type model map[string]*state

func newModel() model { return model{"/": implicit()} }

func implicit() *state {
	return &state{mode: unix.S_IFDIR | 0o755, xattrs: map[string]string{}}
}

func isDir(s *state) bool      { return s != nil && s.mode&unix.S_IFMT == unix.S_IFDIR }
func isWhiteout(s *state) bool { return s != nil && s.mode == unix.S_IFCHR && s.rdev == "0:0" }

// remove takes a path and all below it away.
func (m model) remove(p string) {
	for q := range m {
		if q == p || strings.HasPrefix(q, p+"/") {
			delete(m, q)
		}
	}
}

// mkdir makes p a directory, and all above it.
func (m model) mkdir(p string) *state {
	if p != "/" {
		m.mkdir(path.Dir(p))
	}
	if old := m[p]; !isDir(old) {
		m[p] = implicit()
		if isWhiteout(old) {
			m[p].xattrs["trusted.overlay.opaque"] = "y"
		}
	}
	return m[p]
}

// apply does what one entry says.
func (m model) apply(e entry) {
	p := path.Join("/", e.Name)
	parent, name := path.Dir(p), path.Base(p)
	switch hidden, whiteout := strings.CutPrefix(name, ".wh."); {
	case name == ".wh..wh..opq":
		m.mkdir(parent).xattrs["trusted.overlay.opaque"] = "y"
		return
	case whiteout:
		m.mkdir(parent)
		at := path.Join(parent, hidden)
		if old := m[at]; old == nil {
			m[at] = &state{mode: unix.S_IFCHR, rdev: "0:0"}
		} else if isDir(old) {
			old.xattrs["trusted.overlay.opaque"] = "y"
		}
		return
	}
	s := &state{uid: uint32(e.Uid), gid: uint32(e.Gid), sec: e.ModTime.Unix(), nsec: int64(e.ModTime.Nanosecond()), xattrs: map[string]string{}}
	for k, v := range e.PAXRecords {
		s.xattrs[strings.TrimPrefix(k, "SCHILY.xattr.")] = v
	}
	perm := uint32(e.Mode)
	switch e.Typeflag {
	case tar.TypeReg:
		s.mode, s.content = unix.S_IFREG|perm, describe([]byte(e.data))
	case tar.TypeSymlink:
		s.mode, s.content = unix.S_IFLNK|0o777, describe([]byte(e.Linkname))
	case tar.TypeChar:
		s.mode, s.rdev = unix.S_IFCHR|perm, fmt.Sprintf("%d:%d", e.Devmajor, e.Devminor)
	case tar.TypeFifo:
		s.mode = unix.S_IFIFO | perm
	case tar.TypeLink:
		s = m[path.Join("/", e.Linkname)]
	case tar.TypeDir:
		d := m.mkdir(p)
		if opaque, ok := d.xattrs["trusted.overlay.opaque"]; ok {
			s.xattrs["trusted.overlay.opaque"] = opaque
		}
		s.mode = unix.S_IFDIR | perm
		*d = *s
		return
	}
	m.mkdir(parent)
	if m[p] != s {
		m.remove(p)
		m[p] = s
	}
}

// snapshot counts links and numbers inodes.
func (m model) snapshot() snapshot {
	numbers := map[*state]uint64{}
	links := map[string]int{}
	var whiteouts *state
	of := func(s *state) *state { // all whiteouts are one file
		if isWhiteout(s) && whiteouts == nil {
			whiteouts = s
		}
		if isWhiteout(s) {
			return whiteouts
		}
		return s
	}
	names := map[*state]int{}
	for p, s := range m {
		names[of(s)]++
		if isDir(s) {
			links[p] += 2
			if p != "/" {
				links[path.Dir(p)]++
			}
		}
	}
	out := snapshot{}
	for p, s := range m {
		s = of(s)
		if numbers[s] == 0 {
			numbers[s] = uint64(len(numbers) + 1)
		}
		f := *s
		f.ino, f.nlink = numbers[s], names[s]
		if isDir(s) {
			f.nlink = links[p]
		}
		out[p] = f
	}
	return out
}

// name draws a path of few possible ones, so that entries meet.
func name(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "-", "c c", "ÿ"}), 1, 4).Draw(t, "path")
	return strings.Join(parts, "/")
}

// draw makes an entry that m can take.
func draw(t *rapid.T, m model) entry {
	sizes := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(3900, 4200), rapid.IntRange(8100, 8200), rapid.IntRange(65_000, 140_000))
	var e entry
	p := name(t)
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2:
		data := rapid.SampledFrom([]func(int) string{noise, prose, mixed}).Draw(t, "data")(sizes.Draw(t, "size"))
		if hole := rapid.SampledFrom([]int{0, 0, 4096, 200_000}).Draw(t, "hole"); hole > 0 {
			data += strings.Repeat("\x00", hole) + noise(sizes.Draw(t, "end"))
		}
		e = file(p, data)
	case 3:
		e = dir(p)
	case 4:
		e = symlink(p, noise16(sizes.Draw(t, "target")%4095+1))
	case 5:
		e = char(p, rapid.Int64Range(1, 4095).Draw(t, "major"), rapid.Int64Range(0, 1<<20-1).Draw(t, "minor"))
	case 6:
		e = file(p, "").typed(tar.TypeFifo)
	case 7:
		var targets []string
		for q, s := range m {
			// Not one that a directory above the link would replace.
			if !isDir(s) && !isWhiteout(s) && !strings.HasPrefix("/"+p, q+"/") {
				targets = append(targets, q)
			}
		}
		if len(targets) == 0 {
			return dir(p).at(0, 0)
		}
		slices.Sort(targets)
		return hardlink(p, rapid.SampledFrom(targets).Draw(t, "target"))
	case 8:
		return file(path.Join(path.Dir(p), ".wh."+path.Base(p)), "")
	case 9:
		return file(p+"/.wh..wh..opq", "")
	}
	e.Mode = rapid.Int64Range(0, 0o7777).Draw(t, "mode")
	e.Uid, e.Gid = rapid.IntRange(0, 1<<32-2).Draw(t, "uid"), rapid.IntRange(0, 1<<32-2).Draw(t, "gid")
	e = e.at(rapid.Int64Range(0, 1<<33).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec"))
	for _, n := range []string{"trusted.a", "security.b", "trusted.a longer name"} {
		if rapid.IntRange(0, 3).Draw(t, "has "+n) == 0 {
			e = e.attr(n, noise(rapid.SampledFrom([]int{0, 1, 3, 20, 3000, 5000}).Draw(t, n)))
		}
	}
	return e
}

// prose is what can be compressed.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a long text, which says %s\n", i, noise16(i%30+1))
	}
	return b.String()[:n]
}

// mixed is both, in parts of all sizes.
func mixed(n int) string {
	var b strings.Builder
	for i := 1; b.Len() < n; i = i*5 + 3 {
		i %= 150_000
		b.WriteString(prose(i) + noise(i/2))
	}
	return b.String()[:n]
}

// noise16 is noise that a symlink can hold.
func noise16(n int) string { return fmt.Sprintf("%x", noise(n/2+1))[:n] }

// Archives of any entries in any order are trees as the model has them.
func TestRandomTrees(t *testing.T) {
	root, dir := os.Getuid() == 0, t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel()
		var entries []entry
		for range rapid.IntRange(0, 40).Draw(rt, "entries") {
			e := draw(rt, m)
			m.apply(e)
			entries = append(entries, e)
		}
		packed := archive(t, entries...)
		want := m.snapshot()

		image := &memory{}
		if _, err := erofs.FromTar(t.Context(), image, bytes.NewReader(packed), erofs.Options{}); err != nil {
			rt.Fatalf("FromTar: %v", err)
		}
		same(rt, "in the image", inImage(rt, bytes.NewReader(image.data)), want)
		if root {
			throughKernel(rt, dir, image.data, want)
		}
		layer := &memory{}
		if _, err := erofs.FromTar(t.Context(), layer, bytes.NewReader(packed), erofs.Options{Compress: true, Recipe: true}); err != nil {
			rt.Fatalf("FromTar: %v", err)
		}
		var again bytes.Buffer
		if err := erofs.WriteTar(t.Context(), &again, bytes.NewReader(layer.data)); err != nil || !bytes.Equal(again.Bytes(), packed) {
			rt.Fatalf("the archive is not given back (%v)", err)
		}
		if root {
			throughKernel(rt, dir, layer.data, want)
		}
	})
}

// throughKernel compares what the kernel reads, with dir to mount below.
func throughKernel(t *rapid.T, dir string, image []byte, want snapshot) {
	path, at := filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := errors.Join(os.WriteFile(path, image, 0o600), os.MkdirAll(at, 0o755)); err != nil {
		t.Fatal(err)
	}
	mountAt(t, path, at)
	defer func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		os.Remove(path) // the next has another inode, and no page of this one
	}()
	same(t, "through the kernel", onDisk(t, at), want)
}
