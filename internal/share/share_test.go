package share

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/guest"
)

const isolatedEnv = "ABODE_TEST_ISOLATED"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		commands := map[string]func([]string) error{"share": Main, jailCommand: JailMain, "agent": agentMain}
		if main := commands[os.Args[1]]; main != nil {
			if err := main(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// isolate runs the calling test in a process with a mount namespace of its
// own, so that no mount outlives it. In the outer process it returns true when
// the test has been run.
func isolate(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolatedEnv) == t.Name() {
		check(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		unix.Umask(0)
		return false
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: namespaces, FUSE mounts")
	}
	if _, err := os.Stat(guest.Device); err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=50s")
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	return true
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host is a share process, and a process that stands for the guest's agent:
// one that uses a mount must not be the one that relays for it, which a page
// fault or its end would wait for.
type host struct {
	t    testing.TB
	cmd  *exec.Cmd
	conn *os.File    // the hypervisor's
	port *guest.Port // of raw

	agent *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

// share starts `share` for sources, as a VM's kernel does.
func share(t testing.TB, sources ...Source) *host {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "share.sock")
	l, err := net.Listen("unix", socket)
	check(t, err)
	defer func() { _ = l.Close() }()
	args := []string{"share", "--socket", socket}
	for _, s := range sources {
		args = append(args, "--share", s.String())
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	conn, err := l.Accept()
	check(t, err)
	file, err := conn.(*net.UnixConn).File()
	check(t, err)
	_ = conn.Close()
	h := &host{t: t, cmd: cmd, conn: file}
	t.Cleanup(func() {
		_ = file.Close()
		if h.agent != nil {
			_ = h.in.Close()
			if err := h.agent.Wait(); err != nil {
				t.Errorf("the agent: %v", err)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the share process: %v", err)
		}
	})
	return h
}

// agentMain mounts shares over the connection that is its descriptor 3: it
// reads lines "TAG TARGET" and answers each with "ok" or an error.
func agentMain([]string) error {
	conn, err := net.FileConn(os.NewFile(3, "connection"))
	if err != nil {
		return err
	}
	port := guest.NewPort(func() (io.ReadWriteCloser, error) { return conn, nil })
	var wg sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		tag, target, _ := strings.Cut(lines.Text(), " ")
		err := func() error {
			s, err := port.Open(context.Background(), tag)
			if err != nil {
				return err
			}
			if s.Mode == unix.S_IFDIR {
				err = os.Mkdir(target, 0o755)
			} else {
				err = os.WriteFile(target, nil, 0o600)
			}
			if err != nil {
				return err
			}
			fd, err := unix.Open(guest.Device, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Mount("abode", target, "fuse", unix.MS_NOSUID|unix.MS_NODEV, strings.Join(guest.Options(fd, s.Mode), ",")); err != nil {
				return err
			}
			wg.Go(func() {
				if err := guest.Relay(os.NewFile(uintptr(fd), guest.Device), s); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			})
			return nil
		}()
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	wg.Wait()
	return port.Close()
}

// tryMount mounts a share at a new directory, or file, and returns its path.
func (h *host) tryMount(tag string) (string, error) {
	t := h.t
	t.Helper()
	if h.agent == nil {
		h.agent = exec.Command(os.Args[0], "agent")
		h.agent.ExtraFiles = []*os.File{h.conn}
		h.agent.Stderr = os.Stderr
		h.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var err error
		h.in, err = h.agent.StdinPipe()
		check(t, err)
		out, err := h.agent.StdoutPipe()
		check(t, err)
		h.out = bufio.NewReader(out)
		runtime.LockOSThread() // PDEATHSIG is sent when the thread ends
		check(t, h.agent.Start())
		_ = h.conn.Close() // the agent's alone now: its end is the connection's
	}
	target := filepath.Join(t.TempDir(), "mnt")
	_, err := fmt.Fprintln(h.in, tag, target)
	check(t, err)
	answer, err := h.out.ReadString('\n')
	check(t, err)
	if answer != "ok\n" {
		return "", errors.New(strings.TrimSpace(answer))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Errorf("unmounting: %v", err)
			_ = unix.Unmount(target, unix.MNT_DETACH)
		}
	})
	return target, nil
}

func (h *host) mount(tag string) string {
	h.t.Helper()
	target, err := h.tryMount(tag)
	check(h.t, err)
	return target
}

// raw is a guest that speaks FUSE as it likes.
func (h *host) raw(tag string) *guest.Share {
	t := h.t
	t.Helper()
	conn, err := net.FileConn(h.conn)
	check(t, err)
	h.port = guest.NewPort(func() (io.ReadWriteCloser, error) { return conn, nil })
	_ = h.conn.Close()
	t.Cleanup(func() { _ = h.port.Close() })
	s, err := h.port.Open(t.Context(), tag)
	check(t, err)
	return s
}

// jailPID finds the process that serves.
func (h *host) jailPID() string {
	h.t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	for _, f := range tasks {
		if b, err := os.ReadFile(f); err == nil && len(strings.Fields(string(b))) == 1 {
			return strings.Fields(string(b))[0]
		}
	}
	h.t.Fatal("the share has no jail")
	return ""
}

// Everything that a program does with files gives the same in the share and on
// the host, and is the same file on both sides.
func TestFiles(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	h := share(t, Source{Tag: "data", Path: dir})
	mnt := h.mount("data")
	for _, c := range exercises {
		t.Run(c.name, func(t *testing.T) {
			for _, base := range []string{t.TempDir(), mnt} { // first on the host: a wrong test shows there
				d := filepath.Join(base, "work")
				check(t, os.Mkdir(d, 0o777))
				c.run(t, d)
				if t.Failed() {
					t.Fatalf("in %s", base)
				}
				if base == mnt {
					if _, err := os.Lstat(filepath.Join(dir, "work")); err != nil {
						t.Errorf("the host does not see it: %v", err)
					}
				}
				check(t, os.RemoveAll(d))
			}
		})
	}
	if es, _ := os.ReadDir(dir); len(es) != 0 {
		t.Errorf("left on the host: %v", es)
	}
}

// Changes on either side are seen on the other at once.
func TestCoherence(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	h := share(t, Source{Tag: "data", Path: dir})
	mnt, second := h.mount("data"), h.mount("data")
	file := "f"
	for i := range 50 {
		want := strings.Repeat(fmt.Sprint(i), i+1)
		check(t, os.WriteFile(filepath.Join(dir, file), []byte(want), 0o644))
		for _, m := range []string{mnt, second} {
			got, err := os.ReadFile(filepath.Join(m, file))
			if err != nil || string(got) != want {
				t.Fatalf("read %q, %v; want %q", got, err, want)
			}
		}
		want += "guest"
		check(t, os.WriteFile(filepath.Join(mnt, file), []byte(want), 0o644))
		for _, m := range []string{dir, second} {
			if got, err := os.ReadFile(filepath.Join(m, file)); err != nil || string(got) != want {
				t.Fatalf("read %q, %v; want %q", got, err, want)
			}
		}
		next := fmt.Sprint("f", i)
		check(t, os.Rename(filepath.Join(dir, file), filepath.Join(dir, next)))
		if _, err := os.Stat(filepath.Join(mnt, file)); !os.IsNotExist(err) {
			t.Fatalf("the old name is there: %v", err)
		}
		file = next
	}
}

// Files belong to who makes them, and permissions hold.
func TestOwners(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777))
	check(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "group"), 0o777))
	check(t, os.Chown(filepath.Join(dir, "group"), 0, 77))
	check(t, os.Chmod(filepath.Join(dir, "group"), 0o777|os.ModeSetgid))
	h := share(t, Source{Tag: "data", Path: dir})
	mnt := h.mount("data")
	for d := filepath.Dir(mnt); d != os.TempDir(); d = filepath.Dir(d) { // root's own
		check(t, os.Chmod(d, 0o755))
	}
	sh := func(script string) (string, error) {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Dir = mnt
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 5678}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := sh("umask 022; echo a >f && mkdir d && ln -s f l && mkfifo p && echo b >group/f && mkdir group/d && chmod 4755 f && ln f h"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, gid := range map[string]uint32{"f": 5678, "d": 5678, "l": 5678, "p": 5678, "h": 5678, "group/f": 77, "group/d": 77} {
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(dir, name), &st))
		if st.Uid != 1234 || st.Gid != gid {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	mode := func(name string) os.FileMode {
		fi, err := os.Lstat(filepath.Join(dir, name))
		check(t, err)
		return fi.Mode()
	}
	if m := mode("f"); m != 0o755|os.ModeSetuid {
		t.Errorf("f has %v", m)
	}
	if m := mode("group/d"); m != 0o755|os.ModeSetgid|os.ModeDir {
		t.Errorf("group/d has %v", m)
	}
	// A write takes set-user-ID away.
	if out, err := sh("echo more >>f"); err != nil || mode("f") != 0o755 {
		t.Errorf("after a write f has %v (%v %s)", mode("f"), err, out)
	}
	for _, denied := range []string{"cat secret", "echo x >>secret", "chown 0 f", "chmod 777 secret", "ln secret s2 && cat s2"} {
		if out, err := sh(denied); err == nil {
			t.Errorf("%s: %s", denied, out)
		}
	}
	check(t, os.Lchown(filepath.Join(mnt, "l"), 1, 2)) // root of the guest may
	var st unix.Stat_t
	check(t, unix.Lstat(filepath.Join(dir, "l"), &st))
	if st.Uid != 1 || st.Gid != 2 {
		t.Errorf("l belongs to %d:%d", st.Uid, st.Gid)
	}
	check(t, unix.Lstat(filepath.Join(dir, "f"), &st))
	if st.Uid != 1234 {
		t.Errorf("the change followed the link")
	}
}

// A file can be shared alone, and what is mounted below a directory comes along.
func TestShapes(t *testing.T) {
	if isolate(t) {
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	check(t, os.WriteFile(file, []byte("one"), 0o644))
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	check(t, unix.Mount("tmpfs", filepath.Join(dir, "sub"), "tmpfs", 0, ""))
	defer func() { _ = unix.Unmount(filepath.Join(dir, "sub"), unix.MNT_DETACH) }()
	check(t, os.WriteFile(filepath.Join(dir, "sub", "below"), []byte("two"), 0o644))
	h := share(t, Source{Tag: "file", Path: file}, Source{Tag: "fixed", Path: file, ReadOnly: true}, Source{Tag: "dir", Path: dir, ReadOnly: true})
	alone := h.mount("file")
	check(t, os.WriteFile(alone, []byte("changed"), 0o644))
	if b, err := os.ReadFile(file); err != nil || string(b) != "changed" {
		t.Errorf("the host has %q, %v", b, err)
	}
	fixed := h.mount("fixed")
	if err := os.WriteFile(fixed, nil, 0o644); !isErr(err, unix.EROFS) {
		t.Errorf("writing to a read-only file: %v", err)
	}
	mnt := h.mount("dir")
	if b, err := os.ReadFile(filepath.Join(mnt, "sub", "below")); err != nil || string(b) != "two" {
		t.Errorf("below a mount: %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(mnt, "sub", "new"), nil, 0o644); !isErr(err, unix.EROFS) {
		t.Errorf("writing below a mount of a read-only share: %v", err)
	}
	if _, err := h.tryMount("other"); err == nil || !strings.Contains(err.Error(), "no such share") {
		t.Errorf("an unknown tag: %v", err)
	}
}

// More files than may be open are no trouble.
func TestManyNodes(t *testing.T) {
	if isolate(t) {
		return
	}
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 300, Max: 300}))
	dir := t.TempDir()
	h := share(t, Source{Tag: "data", Path: dir})
	mnt := h.mount("data")
	var dirs []*os.File
	for i := range 60 {
		d := filepath.Join(mnt, fmt.Sprint("d", i), "deep")
		check(t, os.MkdirAll(d, 0o755))
		f, err := os.Open(d)
		check(t, err)
		defer func() { _ = f.Close() }()
		dirs = append(dirs, f)
	}
	gone := filepath.Join(mnt, "gone")
	check(t, os.WriteFile(gone, []byte("still here"), 0o644))
	held, err := os.OpenFile(gone, os.O_RDWR, 0)
	check(t, err)
	defer func() { _ = held.Close() }()
	check(t, os.Remove(gone))
	for round := range 2 {
		for i := range 2000 {
			name := filepath.Join(mnt, "d0", fmt.Sprint(i))
			if round == 0 {
				check(t, os.WriteFile(name, []byte(name), 0o644))
			} else if b, err := os.ReadFile(name); err != nil || string(b) != name {
				t.Fatalf("%s: %q, %v", name, b, err)
			}
		}
	}
	for i, f := range dirs {
		if i%2 == 0 { // moved while it may be closed
			check(t, os.Rename(filepath.Join(mnt, fmt.Sprint("d", i)), filepath.Join(mnt, fmt.Sprint("moved", i))))
		}
		fd, err := unix.Openat(int(f.Fd()), "x", unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Fatalf("in directory %d: %v", i, err)
		}
		_ = unix.Close(fd)
	}
	if err := held.Chmod(0o600); err != nil {
		t.Errorf("chmod of a file without a name: %v", err)
	}
	if fi, err := held.Stat(); err != nil || fi.Size() != 10 {
		t.Errorf("stat of a file without a name: %v %v", fi, err)
	}
	b, err := os.ReadDir(filepath.Join(mnt, "moved0"))
	if err != nil || len(b) != 2001 {
		t.Errorf("%d entries, %v", len(b), err)
	}
}
