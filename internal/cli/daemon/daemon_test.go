package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func host(address string, env map[string]string) *Host {
	return &Host{Address: address, Getenv: func(n string) string { return env[n] }}
}

func TestArguments(t *testing.T) {
	h := host("unix:///run/a/s", map[string]string{"ABODE_ROOT": "/r", "ABODE_SUBNET": "10.0.0.0/24"})
	want := []string{"--host", "unix:///run/a/s", "--root", "/r", "--subnet", "10.0.0.0/24"}
	if got := h.arguments(); !slices.Equal(got, want) {
		t.Errorf("the arguments are %q, want %q", got, want)
	}
	if h.Run() != "/run/a" {
		t.Errorf("the run directory is %s", h.Run())
	}
	if h := host("unix:///run/a/s", map[string]string{"ABODE_RUN": "/x"}); h.Run() != "/x" {
		t.Errorf("the run directory is %s", h.Run())
	}
}

// Of a TCP address no engine is started; the error says what to do, and is
// kept for the CLI.
func TestDialTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "tcp://" + l.Addr().String()
	h := host(address, nil)
	c, err := h.Dial(context.Background(), "", "")
	if err != nil || h.Failure() != nil {
		t.Fatalf("%v, %v", err, h.Failure())
	}
	c.Close()
	l.Close()
	_, err = h.Dial(context.Background(), "", "")
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "is aboded running there?") || h.Failure() == nil {
		t.Errorf("the error is %v, kept is %v", err, h.Failure())
	}
}

func TestAbsent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	dial := func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); !absent(err) {
		t.Errorf("no file: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(); err != nil {
		t.Error(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := dial(); !absent(err) {
		t.Errorf("a file that was left behind: %v", err)
	}
}

func TestTail(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	old := "before\n"
	var lines []string
	for i := range 20 {
		lines = append(lines, "line "+string(rune('a'+i)))
	}
	if err := os.WriteFile(name, []byte(old+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := tail(name, int64(len(old)))
	if strings.Contains(got, "before") || strings.Contains(got, "line j\n") || !strings.HasSuffix(got, "\n  line k\n  line l\n  line m\n  line n\n  line o\n  line p\n  line q\n  line r\n  line s\n  line t") {
		t.Errorf("the tail is %s", got)
	}
	if got := tail(name, 1<<20); got != "; see "+name {
		t.Errorf("of a log that was cut the tail is %s", got)
	}
}

// One lock at a time; the next gets it when it is dropped.
func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lock(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("a second lock is %v", err)
	}
	got := make(chan error, 1)
	go func() {
		u, err := lock(context.Background(), name)
		if err == nil {
			u()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
