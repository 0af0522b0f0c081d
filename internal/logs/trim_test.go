package logs

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var all = Options{Stdout: true, Stderr: true, Tail: -1}

const lineSize = 100 // of a frame, header included

// lines writes numbered lines, from first on, a frame each.
func lines(t *testing.T, path string, b Bound, first, n int) {
	t.Helper()
	f, err := Open(path, b)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range n {
		if err := Append(f, Stdout, t0, numbered(first+i)); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(i int) []byte { return fmt.Appendf(nil, "%0*d\n", lineSize-headerSize-1, i) }

// tailOf wants whole lines without a gap up to last, and returns how many.
func tailOf(t *testing.T, text string, last int) int {
	t.Helper()
	list := strings.SplitAfter(text, "\n")
	list = list[:len(list)-1]
	for i, line := range list {
		if want := string(numbered(last - len(list) + 1 + i)); line != want {
			t.Fatalf("line %d of %d is %q, want %q", i, len(list), line, want)
		}
	}
	return len(list)
}

func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// The newest output is kept, at least all but one of the parts and at most all.
func TestBound(t *testing.T) {
	for _, b := range []Bound{{1 << 20, 2}, {1 << 20, 1}, {200 << 10, 5}, {2 << 20, 3}} {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			written := 0
			for range 25 {
				lines(t, path, b, written, 3000)
				written += 3000
				n := tailOf(t, show(t, path, all), written-1)
				if int64(written)*lineSize >= b.keep() && int64(n+1)*lineSize < b.keep() {
					t.Fatalf("%d bytes are kept, want %d at least", n*lineSize, b.keep())
				}
				if got := onDisk(t, path); got > b.total()+4096 {
					t.Fatalf("%d bytes are on disk, want %d at most", got, b.total())
				}
			}
			if n := tailOf(t, show(t, path, Options{Stdout: true, Tail: 7}), written-1); n != 7 {
				t.Errorf("the last 7 lines are %d", n)
			}
		})
	}
}

func TestNoBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if room, err := Trim(path, Bound{1, 1}); err != nil || room != math.MaxInt64 {
		t.Errorf("of no log: %d, %v", room, err)
	}
	lines(t, path, Bound{}, 0, 5000)
	if room, err := Trim(path, Bound{}); err != nil || room != math.MaxInt64 {
		t.Errorf("without a bound: %d, %v", room, err)
	}
	if n := tailOf(t, show(t, path, all), 4999); n != 5000 {
		t.Errorf("%d lines are left", n)
	}
}

// Lines that are longer than frames: what is left of a line is not shown.
func TestTrimWithinLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	b := Bound{64 << 10, 3}
	f, err := Open(path, b)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text bytes.Buffer
	for i := range 20000 {
		text.Write(numbered(i))
	}
	for p := text.Bytes(); len(p) > 0; {
		n := min(len(p), 1009)
		if err := Append(f, Stdout, t0, p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	if n := tailOf(t, show(t, path, all), 19999); n < 1000 {
		t.Errorf("%d lines are kept", n)
	}
	// Output without lines is not taken for the rest of one.
	long := strings.Repeat("x", 1<<20)
	if err := Append(f, Stdout, t0, []byte(long)); err != nil {
		t.Fatal(err)
	}
	if got := show(t, path, all); len(got) < 64<<10 || strings.Trim(got, "x") != "" {
		t.Errorf("%d bytes are shown", len(got))
	}
}

// What was written while nobody trimmed is more than is read to find a frame.
func TestTrimFar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const n = (scanMax + 8<<20) / lineSize
	var b bytes.Buffer
	for i := range n {
		if err := Append(&b, Stdout, t0, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Trim(path, Bound{1 << 20, 3}); err != nil {
		t.Fatal(err)
	}
	if n := tailOf(t, show(t, path, all), n-1); n < 2<<20/lineSize-3 {
		t.Errorf("%d lines are kept", n)
	}
	if got := onDisk(t, path); got > 3<<20 {
		t.Errorf("%d bytes are on disk", got)
	}
}

// A guest writes no frames, or some among other things.
func TestTrimGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		path := filepath.Join(t.TempDir(), "log")
		b := Bound{50 << 10, 1 + r.IntN(4)}
		var text bytes.Buffer
		for text.Len() < 600<<10 {
			switch r.IntN(4) {
			case 0:
				text.Write(make([]byte, r.IntN(9000)))
			case 1:
				for range r.IntN(9000) {
					text.WriteByte(byte(r.Uint32()))
				}
			case 2: // headers without what they announce
				Append(&text, Stderr, t0, make([]byte, 1+r.IntN(60000)))
				text.Truncate(text.Len() - r.IntN(min(text.Len(), 50000)))
			default:
				Append(&text, Stdout, t0, []byte("a line\n"))
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Open(path, b)
		if err != nil {
			t.Fatal(err)
		}
		for p := text.Bytes(); len(p) > 0; {
			n := min(len(p), 1+r.IntN(30000))
			if _, err := f.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		f.Close()
		// A frame that is announced and not there yet is kept.
		if got := onDisk(t, path); got > b.total()+headerSize+MaxPayload+8192 {
			t.Fatalf("round %d: %d bytes are on disk, want %d", round, got, b.total())
		}
		if err := Repair(path, 0o600); err != nil {
			t.Fatal(err)
		}
		lines(t, path, b, 0, 200)
		lines(t, path, b, 200, 200)
		if got := show(t, path, all); !strings.HasSuffix(got, string(numbered(399))) {
			t.Fatalf("round %d: it ends in %q", round, got[max(0, len(got)-200):])
		}
	}
}

// A follower that is slower than the writer goes on with what there is.
func TestFollowTrimmed(t *testing.T) {
	for _, tail := range []int{-1, 0, 5} {
		path := filepath.Join(t.TempDir(), "log")
		b := Bound{300 << 10, 2}
		lines(t, path, b, 0, 10)
		begun, overtaken, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		written := 10
		go func() {
			defer close(ended)
			for waits := true; waits; written++ {
				lines(t, path, b, written, 1)
				select {
				case <-begun:
					waits = false
				case <-time.After(time.Millisecond):
				}
			}
			for i := range 10 {
				lines(t, path, b, written, 2000)
				written += 2000
				if i == 5 {
					close(overtaken)
				}
			}
		}()
		var got []string
		o := all
		o.Tail, o.Follow = tail, ended
		err := Read(t.Context(), path, o, func(_ byte, p []byte) error {
			if len(got) == 0 {
				close(begun)
				<-overtaken
			}
			got = append(got, string(p))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) < 300<<10/lineSize || got[len(got)-1] != string(numbered(written-1)) {
			t.Fatalf("tail %d: %d lines, the last is %q", tail, len(got), got[len(got)-1])
		}
		last, missed := -1, false
		for _, line := range got {
			var n int
			if _, err := fmt.Sscanf(line, "%d\n", &n); err != nil || line != string(numbered(n)) || n <= last {
				t.Fatalf("tail %d: after line %d comes %q", tail, last, line)
			}
			missed = missed || n > last+1
			last = n
		}
		if !missed {
			t.Errorf("tail %d: nothing was trimmed under the follower", tail)
		}
	}
}

// A crash may leave the mark of before or of after, or none.
func TestTrimCrash(t *testing.T) {
	b := Bound{100 << 10, 3}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"no mark":       func(t *testing.T, path string) { os.Remove(markPath(path)) },
		"broken mark":   func(t *testing.T, path string) { os.WriteFile(markPath(path), []byte("what"), 0o600) },
		"old mark":      func(t *testing.T, path string) { save(t, path, mark{start: 17 * lineSize}) },
		"mark, no hole": func(t *testing.T, path string) { m := readMark(path); m.start += 50 * lineSize; save(t, path, m) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			lines(t, path, b, 0, 9000)
			spoil(t, path)
			if n := tailOf(t, show(t, path, all), 8999); n < 1900 {
				t.Errorf("%d lines are kept", n)
			}
			if err := Repair(path, 0o600); err != nil {
				t.Fatal(err)
			}
			lines(t, path, b, 9000, 9000)
			if n := tailOf(t, show(t, path, all), 17999); n < 2000 {
				t.Errorf("%d lines are kept later", n)
			}
			if got := onDisk(t, path); got > b.total()+4096 {
				t.Errorf("%d bytes are on disk", got)
			}
		})
	}
	// Emptied, and the word of that lost.
	path := filepath.Join(t.TempDir(), "log")
	save(t, path, mark{start: 1 << 30})
	lines(t, path, b, 0, 10)
	if n := tailOf(t, show(t, path, all), 9); n != 10 {
		t.Errorf("%d lines of 10", n)
	}
	lines(t, path, b, 10, 9000)
	tailOf(t, show(t, path, all), 9009)
}

func save(t *testing.T, path string, m mark) {
	t.Helper()
	if err := m.save(path); err != nil {
		t.Fatal(err)
	}
}

// ramfs has no holes to punch.
func TestTrimWithoutHoles(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "ramfs", 0, ""); err != nil {
		t.Skip("cannot mount a ramfs:", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "log")
	b := Bound{100 << 10, 2}
	ended := make(chan struct{})
	lines(t, path, b, 0, 10)
	first := true
	err := Read(t.Context(), path, Options{Stdout: true, Tail: -1, Follow: ended}, func(_ byte, p []byte) error {
		if first {
			first = false
			lines(t, path, b, 10, 10000)
			close(ended)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > b.total() {
		t.Errorf("%v, %v", info.Size(), err)
	}
	tailOf(t, show(t, path, all), 10009)
}

// A log that was long does not stay a long hole.
func TestRepairShortens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	lines(t, path, Bound{}, 0, 0)
	hole := int64(holeMax + 5000)
	if err := os.Truncate(path, hole); err != nil {
		t.Fatal(err)
	}
	save(t, path, mark{start: hole, generation: 3})
	lines(t, path, Bound{}, 0, 500)
	if err := Repair(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := tailOf(t, show(t, path, all), 499); n != 500 {
		t.Errorf("%d lines of 500", n)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	if (fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.XFS_SUPER_MAGIC) && info.Size() > 1<<21 {
		t.Errorf("it is %d bytes long", info.Size())
	}
	lines(t, path, Bound{20 << 10, 2}, 500, 3000)
	tailOf(t, show(t, path, all), 3499)
}

func TestDetails(t *testing.T) {
	o := all
	o.Details, o.Timestamps = new(string), true
	if got, want := show(t, write(t, "o:a\nb", "o:c\n"), o), t0.Format(stampFormat)+"  a\n"+t0.Format(stampFormat)+"  bc\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Readers of all kinds while it is written and trimmed: never anything but
// whole lines.
func TestReadWhileTrimmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	b := Bound{64 << 10, 2}
	lines(t, path, b, 0, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines(t, path, b, 1, 60000)
	}()
	for reads := 0; ; reads++ {
		select {
		case <-done:
			if n := tailOf(t, show(t, path, Options{Stdout: true, Tail: 3}), 60000); n != 3 {
				t.Errorf("%d lines of 3, after %d reads", n, reads)
			}
			return
		default:
		}
		o := all
		o.Tail = []int{-1, 10}[reads%2]
		o.Since = []time.Time{{}, t0}[reads/2%2]
		for line := range strings.Lines(show(t, path, o)) {
			var n int
			if _, err := fmt.Sscanf(line, "%d\n", &n); err != nil || line != string(numbered(n)) {
				t.Fatalf("read %d shows %q", reads, line)
			}
		}
	}
}

// Whatever precedes the kept part, the newest lines are there.
func FuzzTrim(f *testing.F) {
	f.Add([]byte{}, uint16(1000))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', '\n'}, uint16(7))
	f.Fuzz(func(t *testing.T, garbage []byte, size uint16) {
		path := write(t, garbage, make([]byte, headerSize+MaxPayload))
		b := Bound{int64(size) + 20*lineSize, 2}
		if _, err := Trim(path, b); err != nil {
			t.Fatal(err)
		}
		lines(t, path, b, 0, 300)
		got := show(t, path, all)
		if i := len(got) - 10*len(numbered(0)); i < 0 || tailOf(t, got[i:], 299) != 10 {
			t.Errorf("%d bytes are left", len(got))
		}
	})
}
