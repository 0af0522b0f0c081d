package compare

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNumber(t *testing.T) {
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1), 1e300} {
		if got, err := number(v); err == nil {
			t.Errorf("%g is %g", v, *got)
		}
	}
	if got, err := number(1e-6); err != nil || *got != 1e-6 {
		t.Errorf("%v %v", got, err)
	}
}

func TestThroughputText(t *testing.T) {
	for key, values := range map[string]map[float64]string{
		"diskWrite":  {3 << 20: "3 MiB/s", 1.5 * (1 << 30): "1.5 GiB/s"},
		"diskRandom": {7.25: "7.25/s", 999: "999/s", 15049: "15,000/s", 1234567: "1,230,000/s", 1004.6: "1,000/s"},
		"netIn":      {2.5e3: "2.5 kbit/s", 836.4e6: "836 Mbit/s", 10.44e9: "10.4 Gbit/s"},
		"roundTrip":  {16e-6: "16 µs"},
	} {
		for _, m := range metrics {
			if m.key != key {
				continue
			}
			for v, want := range values {
				if got := m.text(v); got != want {
					t.Errorf("%s of %g: %s, want %s", key, v, got, want)
				}
			}
		}
	}
}

// The gauge has to run in any image.
func TestProgram(t *testing.T) {
	for name, want := range map[string]string{
		"/bin/sh":       "needs a dynamic loader",
		"/etc/passwd":   "cannot be run in a container",
		"/nonexistent/": "cannot open this program",
	} {
		if f, err := (&Plan{Program: name}).program(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", name, f, err)
		}
	}
	static := filepath.Join(t.TempDir(), "static")
	if err := os.WriteFile(static+".go", []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", static, static+".go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := (&Plan{Program: static}).program()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if at, _ := f.Seek(0, 1); at != 0 {
		t.Errorf("it is copied from byte %d on", at)
	}
}

// Files that a process writes to leave the page cache, others stay.
func TestDropFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/read", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	written, err := os.Create(dir + "/written")
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	if _, err := written.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	read, err := os.Open(dir + "/read")
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	var where unix.Statfs_t
	if err := unix.Fstatfs(int(read.Fd()), &where); err != nil {
		t.Fatal(err)
	}
	if where.Type == unix.TMPFS_MAGIC {
		t.Skip("the temporary directory has no disk behind it")
	}
	unix.Sync() // what is dirty would stay
	if err := (&Host{Proc: "/proc"}).dropFiles(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if n := cached(t, written); n != 0 {
		t.Errorf("%d pages of what is written are cached", n)
	}
	if n := cached(t, read); n == 0 {
		t.Error("what is read alone is dropped too")
	}
	if err := (&Host{Proc: "/proc"}).dropFiles(1 << 30); err == nil {
		t.Error("a process that is not there has files")
	}
}
