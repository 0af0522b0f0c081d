package fs

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/wire"
)

// shared makes a small share beside a file that is not shared, without a jail.
func shared(t testing.TB) (f *FS, secret string) {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "shared")
	secret = filepath.Join(base, "secret")
	check(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("file"), 0o644))
	check(t, os.WriteFile(secret, []byte("secret"), 0o644))
	check(t, os.Symlink("../secret", filepath.Join(dir, "link")))
	self, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	was, err := os.Getwd()
	check(t, err)
	check(t, EnterSelf(self))
	root, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	check(t, err)
	f, err = New(root, Options{Self: self, MaxOpen: 20})
	check(t, err)
	t.Cleanup(func() {
		f.Close()
		_ = unix.Close(self)
		check(t, os.Chdir(was))
	})
	return f, secret
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func message(op uint32, node uint64, body []byte) []byte {
	msg := binary.NativeEndian.AppendUint32(nil, uint32(inHeaderLen+len(body)))
	msg = binary.NativeEndian.AppendUint32(msg, op)
	msg = binary.NativeEndian.AppendUint64(msg, 42)
	msg = binary.NativeEndian.AppendUint64(msg, node)
	msg = append(msg, make([]byte, 16)...)
	return append(msg, body...)
}

// answer checks that an answer is one.
func answer(t testing.TB, f *FS, msg []byte) []byte {
	t.Helper()
	buf := new(wire.Buffer)
	n, ok := f.Handle(msg, buf.Body())
	if !ok || n == 0 {
		return nil
	}
	out := buf.Body()[:n]
	if n < outHeaderLen || binary.NativeEndian.Uint32(out) != uint32(n) || binary.NativeEndian.Uint64(out[8:]) != 42 {
		t.Fatalf("request %x was answered with %x", msg, out)
	}
	if errno := -int32(binary.NativeEndian.Uint32(out[4:])); errno < 0 || errno > 4095 || errno != 0 && n != outHeaderLen {
		t.Fatalf("request %x failed with %d and %d bytes", msg, errno, n)
	}
	return out[outHeaderLen:]
}

// Requests come at once, for nodes and files that others forget and close.
func TestAtOnce(t *testing.T) {
	f, secret := shared(t)
	names := []string{"file", "sub", "link", "a", "b", "c", "d"}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			text := func() []byte { return append([]byte(names[r.IntN(len(names))]), 0) }
			for range 3000 {
				node, fh := 1+r.Uint64N(40), 1+r.Uint64N(200)
				u64 := func(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }
				u32 := func(v ...uint32) (b []byte) {
					for _, x := range v {
						b = binary.NativeEndian.AppendUint32(b, x)
					}
					return b
				}
				cat := func(parts ...[]byte) (b []byte) {
					for _, p := range parts {
						b = append(b, p...)
					}
					return b
				}
				switch r.IntN(12) {
				case 0, 1, 2:
					answer(t, f, message(opLookup, 1, text()))
				case 3:
					answer(t, f, message(opForget, node, u64(1+r.Uint64N(3))))
				case 4:
					answer(t, f, message(opCreate, 1, cat(u32(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), text())))
				case 5:
					answer(t, f, message(opRelease, node, cat(u64(fh), make([]byte, 16))))
				case 6:
					answer(t, f, message(opWrite, node, cat(u64(fh), u64(0), u32(5, 0), u64(0), u32(0, 0), []byte("hello"))))
				case 7:
					answer(t, f, message(opRead, node, cat(u64(fh), u64(0), u32(100, 0), u64(0), u32(0, 0))))
				case 8:
					answer(t, f, message(opUnlink, 1, text()))
				case 9:
					answer(t, f, message(opRename, 1, cat(u64(1), text(), text())))
				case 10:
					answer(t, f, message(opGetattr, node, make([]byte, 16)))
				case 11:
					answer(t, f, message(opMkdir, 1, cat(u32(0o755, 0), text())))
				}
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the secret: %q, %v", b, err)
	}
	f.nodes.mu.Lock()
	defer f.nodes.mu.Unlock()
	open := 0
	for id, n := range f.nodes.byID {
		if n.pins != 0 || n.lookups == 0 {
			t.Errorf("node %d has %d pins and %d lookups", id, n.pins, n.lookups)
		}
		if n.fd >= 0 {
			open++
		}
	}
	if open != f.nodes.open {
		t.Errorf("%d nodes are open, %d are counted", open, f.nodes.open)
	}
}

// Whatever arrives is answered with an answer, changes nothing outside of the
// share and reveals nothing of it.
func FuzzHandle(f *testing.F) {
	f.Add([]byte{opLookup, 1, 5, 'f', 'i', 'l', 'e', 0, opOpen, 2, 8, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{opLookup, 1, 10, '.', '.', '/', 's', 'e', 'c', 'r', 'e', 't', 0})
	f.Add([]byte{opLookup, 1, 5, 'l', 'i', 'n', 'k', 0, opReadlink, 2, 0, opOpendir, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{opRename, 1, 20, 1, 0, 0, 0, 0, 0, 0, 0, 'f', 'i', 'l', 'e', 0, '.', '.', '/', 'x', 0, 0})
	f.Add([]byte{opSetxattr, 1, 18, 1, 0, 0, 0, 0, 0, 0, 0, 'u', 's', 'e', 'r', '.', 'x', 0, 'v', 0, opListxattr, 1, 8, 100, 0, 0, 0, 0, 0, 0, 0})
	share, secret := shared(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) >= 3 {
			op, node, size := uint32(data[0]), uint64(data[1]), min(int(data[2]), len(data)-3)
			msg := message(op, node, data[3:3+size])
			data = data[3+size:]
			answer(t, share, msg)
			answer(t, share, msg[:len(msg)-1]) // whose length is wrong
		}
		if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
			t.Fatalf("the secret: %q, %v", b, err)
		}
		es, err := os.ReadDir(filepath.Dir(secret))
		if err != nil || len(es) != 2 {
			t.Fatalf("beside the share: %v, %v", es, err)
		}
	})
}
