package api

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ls, err := Listen("unix://"+path, Access{Group: "0"})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode&0o7777 != 0o660 || st.Gid != 0 {
		t.Errorf("the socket has mode %o and group %d", st.Mode&0o7777, st.Gid)
	}
	if _, err := Listen("unix://"+path, Access{}); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon on one socket: %v", err)
	}
	// A daemon that was killed leaves its socket.
	ls[0].(*net.UnixListener).SetUnlinkOnClose(false)
	ls[0].Close()
	if ls, err = Listen("unix://"+path, Access{}); err != nil {
		t.Fatalf("a dead socket stands in the way: %v", err)
	}
	ls[0].Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("closing leaves the socket: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix://"+path, Access{}); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file in the socket's place is now %q", b)
	}
}

func TestListenRefuses(t *testing.T) {
	for _, host := range []string{"http://x", "", "unix://", "fd://", "npipe:////./pipe/x"} {
		if ls, err := Listen(host, Access{}); err == nil {
			ls[0].Close()
			t.Errorf("%q is listened on", host)
		}
	}
	if _, err := Listen("unix://"+filepath.Join(t.TempDir(), "s"), Access{Group: "no-such-group-here"}); err == nil {
		t.Error("a group that does not exist was given the socket")
	}
}

// TestListenSystemd passes a socket as systemd does, to a run of this test.
func TestListenSystemd(t *testing.T) {
	if os.Getenv("API_TEST_LISTEN") != "" {
		os.Setenv("LISTEN_PID", os.Getenv("API_TEST_SHELL_PID"))
		ls, err := Listen("fd://", Access{})
		if err != nil {
			t.Fatal(err)
		}
		if len(ls) != 1 || os.Getenv("LISTEN_FDS") != "" {
			t.Fatalf("%d listeners; LISTEN_FDS=%q", len(ls), os.Getenv("LISTEN_FDS"))
		}
		conn, err := ls[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("passed"))
		conn.Close()
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	// exec keeps the shell's process ID, which is how LISTEN_PID comes out right.
	cmd := exec.Command("/bin/sh", "-c", `API_TEST_SHELL_PID=$$ exec "$0" -test.run '^TestListenSystemd$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "API_TEST_LISTEN=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	conn, r := dial(t, path, "")
	got, err := r.ReadString(0)
	conn.Close()
	if werr := cmd.Wait(); werr != nil || got != "passed" {
		t.Errorf("got %q (%v); the run ended with %v: %s", got, err, werr, out.String())
	}
}
