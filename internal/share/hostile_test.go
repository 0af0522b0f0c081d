package share

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/guest"
	"github.com/abode-run/abode/internal/share/wire"
)

// client sends FUSE requests as a kernel never would.
type client struct {
	t      testing.TB
	s      *guest.Share
	unique uint64
}

func (h *host) client(tag string) *client {
	c := &client{t: h.t, s: h.raw(tag)}
	if errno, _ := c.call(opInit, 0, u32s(7, 38, 1<<20, ^uint32(0)), make([]byte, 48)); errno != 0 {
		h.t.Fatalf("INIT: %v", errno)
	}
	return c
}

func u32s(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.NativeEndian.AppendUint32(b, x)
	}
	return b
}

func u64s(v ...uint64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.NativeEndian.AppendUint64(b, x)
	}
	return b
}

func str(names ...string) []byte { return []byte(strings.Join(names, "\x00") + "\x00") }

// request builds a message from root's process.
func (c *client) request(op uint32, node uint64, parts ...[]byte) []byte {
	c.unique += 2
	body := slices.Concat(parts...)
	msg := u32s(uint32(inHeaderLen+len(body)), op)
	msg = append(msg, u64s(c.unique, node)...)
	msg = append(msg, u32s(0, 0, 1, 0)...) // uid, gid, pid
	return append(msg, body...)
}

func (c *client) send(msg []byte) {
	c.t.Helper()
	if _, err := c.s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// call returns the error and the contents of the answer.
func (c *client) call(op uint32, node uint64, parts ...[]byte) (unix.Errno, []byte) {
	c.t.Helper()
	c.send(c.request(op, node, parts...))
	var buf wire.Buffer
	msg, err := wire.Read(c.s, &buf)
	if err != nil {
		c.t.Fatalf("operation %d: %v", op, err)
	}
	if len(msg) < outHeaderLen || binary.NativeEndian.Uint32(msg) != uint32(len(msg)) || binary.NativeEndian.Uint64(msg[8:]) != c.unique {
		c.t.Fatalf("operation %d: the answer %x is none", op, msg)
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(msg[4:]))), slices.Clone(msg[outHeaderLen:])
}

func (c *client) lookup(node uint64, name string) (uint64, unix.Errno) {
	c.t.Helper()
	errno, body := c.call(1, node, str(name))
	if errno != 0 {
		return 0, errno
	}
	return binary.NativeEndian.Uint64(body), 0
}

const (
	inHeaderLen  = 40
	outHeaderLen = 16

	opInit     = 26
	opSetattr  = 4
	opSymlink  = 6
	opMknod    = 8
	opMkdir    = 9
	opUnlink   = 10
	opRename   = 12
	opLink     = 13
	opOpen     = 14
	opRead     = 15
	opWrite    = 16
	opSetxattr = 21
	opGetxattr = 22
	opOpendir  = 27
	opCreate   = 35
	opRename2  = 45
)

// tree makes a directory that is shared beside one that is not.
func tree(t testing.TB) (shared string) {
	base := t.TempDir()
	shared = filepath.Join(base, "shared")
	check(t, os.MkdirAll(filepath.Join(shared, "sub"), 0o755))
	check(t, os.WriteFile(filepath.Join(base, "secret"), []byte("secret"), 0o644))
	check(t, os.WriteFile(filepath.Join(shared, "file"), []byte("file"), 0o644))
	for name, target := range map[string]string{"up": "../secret", "shadow": "/etc/shadow", "root": "/", "proc": "/proc/1/root/etc/shadow"} {
		check(t, os.Symlink(target, filepath.Join(shared, name)))
	}
	check(t, unix.Mkfifo(filepath.Join(shared, "pipe"), 0o600))
	check(t, unix.Mknod(filepath.Join(shared, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	return shared
}

// No request leads out of the share.
func TestNoEscape(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := tree(t)
	c := share(t, Source{Tag: "data", Path: dir}).client("data")
	bad := []string{"..", ".", "", "/", "../secret", "sub/..", "sub/../../secret", "/etc/shadow", "file/", "./file"}
	sub, errno := c.lookup(1, "sub")
	if errno != 0 {
		t.Fatal(errno)
	}
	file, _ := c.lookup(1, "file")
	for _, name := range bad {
		for _, node := range []uint64{1, sub} {
			for what, msg := range map[string][]byte{
				"lookup":  c.request(1, node, str(name)),
				"create":  c.request(opCreate, node, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), str(name)),
				"mkdir":   c.request(opMkdir, node, u32s(0o755, 0), str(name)),
				"mknod":   c.request(opMknod, node, u32s(unix.S_IFREG|0o644, 0, 0, 0), str(name)),
				"symlink": c.request(opSymlink, node, str(name, "target")),
				"unlink":  c.request(opUnlink, node, str(name)),
				"link":    c.request(opLink, node, u64s(file), str(name)),
				"from":    c.request(opRename2, node, u64s(1), u32s(0, 0), str(name, "new")),
				"to":      c.request(opRename2, 1, u64s(node), u32s(0, 0), str("file", name)),
			} {
				c.send(msg)
				var buf wire.Buffer
				answer, err := wire.Read(c.s, &buf)
				check(t, err)
				if code := int32(binary.NativeEndian.Uint32(answer[4:])); code == 0 {
					t.Errorf("%s of %q below node %d succeeded", what, name, node)
				}
			}
		}
	}
	// Links are not followed by the host, nor looked into.
	for _, name := range []string{"up", "shadow", "root", "proc"} {
		node, errno := c.lookup(1, name)
		if errno != 0 {
			t.Fatalf("%s: %v", name, errno)
		}
		if errno, _ := c.call(opOpen, node, u32s(unix.O_RDONLY, 0)); errno == 0 {
			t.Errorf("opened the link %s", name)
		}
		if errno, _ := c.call(opOpendir, node, u32s(unix.O_RDONLY, 0)); errno == 0 {
			t.Errorf("opened the link %s as a directory", name)
		}
		if _, errno := c.lookup(node, "etc"); errno == 0 {
			t.Errorf("looked behind the link %s", name)
		}
		if errno, _ := c.call(opCreate, 1, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), str(name)); errno != unix.ELOOP {
			t.Errorf("created through the link %s: %v", name, errno)
		}
		if errno, _ := c.call(opSetattr, node, u32s(1<<3, 0), make([]byte, 80)); errno == 0 { // size
			t.Errorf("truncated through the link %s", name)
		}
	}
	// Opening pipes could block, opening devices act.
	for _, name := range []string{"pipe", "null"} {
		node, errno := c.lookup(1, name)
		if errno != 0 {
			t.Fatalf("%s: %v", name, errno)
		}
		if errno, _ := c.call(opOpen, node, u32s(unix.O_RDONLY, 0)); errno != unix.ENXIO {
			t.Errorf("opened %s: %v", name, errno)
		}
		if errno, _ := c.call(opCreate, 1, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), str(name)); errno == 0 {
			t.Errorf("opened %s by CREATE", name)
		}
	}
	for _, mode := range []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFDIR, unix.S_IFLNK} {
		if errno, _ := c.call(opMknod, 1, u32s(mode|0o666, 1<<8|3, 0, 0), str("dev")); errno != unix.EPERM {
			t.Errorf("MKNOD %o: %v", mode, errno)
		}
	}
	for _, attr := range []string{"security.capability", "trusted.overlay.opaque", "system.posix_acl_access", "security.selinux"} {
		if errno, _ := c.call(opSetxattr, file, u32s(1, 0), str(attr), []byte("x")); errno == 0 {
			t.Errorf("set %s", attr)
		}
		if errno, _ := c.call(opGetxattr, file, u32s(100, 0), str(attr)); errno == 0 {
			t.Errorf("read %s", attr)
		}
	}
	// Nodes and handles that were never given.
	for _, node := range []uint64{0, 99, ^uint64(0)} {
		if _, errno := c.lookup(node, "file"); errno == 0 {
			t.Errorf("node %d exists", node)
		}
	}
	if errno, _ := c.call(opRead, file, u64s(99, 0), u32s(100, 0), u64s(0), u32s(0, 0)); errno != unix.EBADF {
		t.Errorf("reading from nothing: %v", errno)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "..", "secret")); err != nil || string(b) != "secret" {
		t.Errorf("the secret: %q %v", b, err)
	}
}

// A read-only share stays as it is whatever the guest sends.
func TestReadOnly(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := tree(t)
	before := list(t, dir)
	c := share(t, Source{Tag: "data", Path: dir, ReadOnly: true}).client("data")
	file, errno := c.lookup(1, "file")
	if errno != 0 {
		t.Fatal(errno)
	}
	setattr := func(valid uint32) []byte { return append(u32s(valid, 0), make([]byte, 80)...) }
	for what, msg := range map[string][]byte{
		"open":     c.request(opOpen, file, u32s(unix.O_RDWR, 0)),
		"truncate": c.request(opOpen, file, u32s(unix.O_RDONLY|unix.O_TRUNC, 0)),
		"create":   c.request(opCreate, 1, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), str("new")),
		"again":    c.request(opCreate, 1, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), str("file")),
		"mkdir":    c.request(opMkdir, 1, u32s(0o755, 0), str("new")),
		"mknod":    c.request(opMknod, 1, u32s(unix.S_IFREG|0o644, 0, 0, 0), str("new")),
		"symlink":  c.request(opSymlink, 1, str("new", "target")),
		"link":     c.request(opLink, 1, u64s(file), str("new")),
		"unlink":   c.request(opUnlink, 1, str("file")),
		"rename":   c.request(opRename2, 1, u64s(1), u32s(0, 0), str("file", "new")),
		"mode":     c.request(opSetattr, file, setattr(1<<0)),
		"owner":    c.request(opSetattr, file, setattr(1<<1|1<<2)),
		"size":     c.request(opSetattr, file, setattr(1<<3)),
		"times":    c.request(opSetattr, file, setattr(1<<4|1<<5)),
		"xattr":    c.request(opSetxattr, file, u32s(1, 0), str("user.x"), []byte("x")),
	} {
		c.send(msg)
		var buf wire.Buffer
		answer, err := wire.Read(c.s, &buf)
		check(t, err)
		if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[4:]))); errno != unix.EROFS {
			t.Errorf("%s: %v", what, errno)
		}
	}
	// What could be opened cannot be written to.
	errno, body := c.call(opOpen, file, u32s(unix.O_RDONLY, 0))
	if errno != 0 {
		t.Fatal(errno)
	}
	fh := binary.NativeEndian.Uint64(body)
	if errno, _ := c.call(opWrite, file, u64s(fh, 0), u32s(1, 0), u64s(0), u32s(0, 0), []byte("x")); errno == 0 {
		t.Error("wrote to a file that is open for reading")
	}
	if after := list(t, dir); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// list describes all files below a directory.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := path + " " + fi.Mode().String() + " " + fi.ModTime().String()
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		all = append(all, line)
		return nil
	}))
	return all
}

// The process that serves has nothing but what it serves.
func TestJail(t *testing.T) {
	if isolate(t) {
		return
	}
	h := share(t, Source{Tag: "data", Path: tree(t)}, Source{Tag: "more", Path: t.TempDir(), ReadOnly: true})
	c := h.client("data") // answered: the jail is closed
	proc := filepath.Join("/proc", h.jailPID())
	es, err := os.ReadDir(filepath.Join(proc, "root"))
	if err != nil || len(es) != 2 || es[0].Name() != "data" || es[1].Name() != "more" {
		t.Errorf("the jail's root: %v %v", es, err)
	}
	mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	check(t, err)
	if n := strings.Count(string(mounts), "\n"); n != 3 {
		t.Errorf("%d mounts:\n%s", n, mounts)
	}
	for line := range strings.Lines(string(mounts)) {
		for _, want := range []string{"nosuid", "nodev", "noexec"} {
			if !strings.Contains(line, want) {
				t.Errorf("a mount without %s: %s", want, line)
			}
		}
	}
	tasks, err := filepath.Glob(filepath.Join(proc, "task", "*", "status"))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("tasks: %v %v", tasks, err)
	}
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		check(t, err)
		for _, want := range []string{"CapEff:\t000000000000001b", "CapPrm:\t000000000000001b", "CapBnd:\t0000000000000000", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: no %q:\n%s", f, want, b)
			}
		}
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		a, err := os.Readlink(filepath.Join(proc, "ns", ns))
		check(t, err)
		if b, _ := os.Readlink("/proc/self/ns/" + ns); a == b {
			t.Errorf("the %s namespace is the host's", ns)
		}
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	check(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && strings.HasPrefix(target, "/") &&
			target != "/dev/null" && target != "/data" && target != "/more" && target != "/" { // the last: its own descriptors
			t.Errorf("descriptor %s is %s", fd.Name(), target)
		}
	}
	if _, errno := c.lookup(1, "file"); errno != 0 {
		t.Error(errno)
	}
}

// Garbage ends the mount, or is answered with an error, and nothing else.
func TestGarbage(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := tree(t)
	h := share(t, Source{Tag: "data", Path: dir, ReadOnly: true})
	c := h.client("data")
	r := rand.New(rand.NewPCG(1, 2))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var buf wire.Buffer
		for {
			if _, err := wire.Read(c.s, &buf); err != nil {
				return
			}
		}
	}()
	for range 30000 {
		op := uint32(r.IntN(60))
		if op == opInit {
			continue
		}
		body := make([]byte, r.IntN(140))
		for i := range body {
			if r.IntN(3) == 0 {
				body[i] = byte(r.Uint32())
			}
		}
		if r.IntN(2) == 0 {
			body = append(body, str([]string{"file", "..", "sub", "", "a/b"}[r.IntN(5)], "x")...)
		}
		c.send(c.request(op, uint64(r.IntN(4)), body))
	}
	// Still alive, and a second mount works.
	mount, err := h.port.Open(t.Context(), "data")
	check(t, err)
	d := &client{t: t, s: mount}
	if errno, _ := d.call(opInit, 0, u32s(7, 38, 1<<20, ^uint32(0)), make([]byte, 48)); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := d.lookup(1, "file"); errno != 0 {
		t.Error(errno)
	}
	for _, msg := range [][]byte{{}, {1, 2, 3}, make([]byte, inHeaderLen), d.request(opInit, 0, make([]byte, 16))} {
		s, err := h.port.Open(t.Context(), "data")
		check(t, err)
		e := &client{t: t, s: s}
		e.send(msg)
		var buf wire.Buffer
		if _, err := wire.Read(s, &buf); err == nil && len(msg) < 60 && binary.NativeEndian.Uint32(buf[8:]) == 0 {
			t.Errorf("%x was taken for a request", msg)
		}
		_ = s.Close()
	}
	_ = c.s.Close()
	<-answered
}
