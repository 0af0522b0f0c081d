package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a connection of which the container's end can see the end of the
// input.
func pair(t *testing.T) (mine Conn, container *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c.(*net.UnixConn))
	}
	return conns[0], conns[1]
}

// The container's output is read to its end even after the input's.
func TestAttach(t *testing.T) {
	conn, container := pair(t)
	in, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.WriteString("input"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	go func() {
		b, _ := io.ReadAll(container) // to the end of the input
		container.Write([]byte{1, 0, 0, 0, 0, 0, 0, 4})
		container.Write([]byte("out:"))
		container.Write([]byte{2, 0, 0, 0, 0, 0, 0, byte(len(b))})
		container.Write(b)
		container.Close()
	}()
	var out, errOut bytes.Buffer
	if err := (Attachment{In: in, Out: &out, Err: &errOut}).Run(context.Background(), conn); err != nil {
		t.Fatal(err)
	}
	if out.String() != "out:" || errOut.String() != "input" {
		t.Errorf("stdout is %q, stderr %q", out.String(), errOut.String())
	}
}

func TestAttachTruncated(t *testing.T) {
	conn, container := pair(t)
	go func() {
		container.Write([]byte{1, 0, 0, 0, 0, 0, 0, 4, 'x'})
		container.Close()
	}()
	var out bytes.Buffer
	// A stream that breaks off in a frame shows what there is.
	_ = Attachment{Out: &out}.Run(context.Background(), conn)
	if out.Len() > 1 {
		t.Errorf("stdout is %q", out.String())
	}
}

// On a terminal: raw while attached, keys as they are typed, and put back
// after the detach keys.
func TestAttachTerminal(t *testing.T) {
	keyboard, tty := openPTY(t)
	before := termios(t, tty)
	conn, container := pair(t)
	done := make(chan error, 1)
	go func() {
		done <- Attachment{In: tty, Out: io.Discard, TTY: true, DetachKeys: "ctrl-a,x"}.Run(context.Background(), conn)
	}()
	for termios(t, tty).Lflag&unix.ICANON != 0 { // what is typed before is lost
		time.Sleep(time.Millisecond)
	}
	if _, err := keyboard.WriteString("\x03\x01y\r"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(container, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != "\x03\x01y\r" {
		t.Errorf("the container read %q", got)
	}
	during := termios(t, tty)
	if during.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %+v", during)
	}
	if _, err := keyboard.WriteString("\x01x"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrDetached) {
		t.Errorf("the end is %v, want %v", err, ErrDetached)
	}
	if after := termios(t, tty); after != before {
		t.Errorf("the terminal is %+v, was %+v", after, before)
	}
}

// RestoreAll puts back what is still raw; what restores later does nothing.
func TestRestoreAll(t *testing.T) {
	_, tty := openPTY(t)
	before := termios(t, tty)
	restore, err := Raw(tty, tty)
	if err != nil {
		t.Fatal(err)
	}
	RestoreAll()
	if after := termios(t, tty); after != before {
		t.Errorf("the terminal is %+v, was %+v", after, before)
	}
	changed := before
	changed.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, &changed); err != nil {
		t.Fatal(err)
	}
	restore()
	if after := termios(t, tty); after != changed {
		t.Error("the terminal was put back twice")
	}
}

func TestResizes(t *testing.T) {
	keyboard, tty := openPTY(t)
	set := func(rows, cols uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			t.Fatal(err)
		}
	}
	set(24, 80)
	sizes := make(chan [2]uint, 8)
	calls := 0
	stop := Resizes(tty, func(h, w uint) error {
		if calls++; calls == 1 {
			return errors.New("not running yet") // it is tried again
		}
		sizes <- [2]uint{h, w}
		return nil
	})
	defer stop()
	if s := <-sizes; s != [2]uint{24, 80} {
		t.Errorf("the first size is %v", s)
	}
	set(50, 132)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil { // this process has no controlling terminal
		t.Fatal(err)
	}
	if s := <-sizes; s != [2]uint{50, 132} {
		t.Errorf("the second size is %v", s)
	}
}

func TestForward(t *testing.T) {
	got := make(chan string, 8)
	stop := Forward(func(s string) { got <- s })
	defer stop()
	for _, s := range []unix.Signal{unix.SIGWINCH, unix.SIGURG, unix.SIGCHLD, unix.SIGUSR1, unix.SIGHUP} {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if s == unix.SIGUSR1 || s == unix.SIGHUP { // two of a kind may become one
			want := unix.SignalName(s)
			if name := <-got; name != want {
				t.Errorf("forwarded is %s, want %s", name, want)
			}
		}
	}
}

func TestDetachKeys(t *testing.T) {
	if b, err := DetachKeys(""); err != nil || !bytes.Equal(b, []byte{16, 17}) {
		t.Errorf("the default is %v, %v", b, err)
	}
	if _, err := DetachKeys("ctrl-nope"); err == nil || !strings.Contains(err.Error(), "invalid detach keys") {
		t.Errorf("the error is %v", err)
	}
}
