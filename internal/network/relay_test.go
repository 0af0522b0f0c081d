package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// A relay carries what either side says until both have ended, and leaves
// nothing when it is closed in the middle of that.
func TestRelay(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server, err := net.Listen("tcp6", "[::1]:0")
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Skip("this machine has no ::1")
	}
	check(t, err)
	defer func() { _ = server.Close() }()
	target := server.Addr().(*net.TCPAddr).AddrPort()
	listener, err := net.Listen("tcp6", "[::1]:0")
	check(t, err)
	r := newRelay(PortBinding{ContainerPort: target.Port()}, listener, nil)
	dial := func() *net.TCPConn {
		t.Helper()
		c, err := net.Dial("tcp6", listener.Addr().String())
		check(t, err)
		check(t, c.SetDeadline(deadline()))
		return c.(*net.TCPConn)
	}
	early := dial() // before the container is known
	defer func() { _ = early.Close() }()
	r.start(target.Addr())
	r.start(netip.IPv6Unspecified()) // the first counts
	said := bytes.Repeat([]byte("what is said "), 100000)
	ended := make(chan error, 1)
	go func() {
		c, err := server.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = c.Close() }()
		heard, err := io.ReadAll(c) // to the end of what the client says
		if err == nil {
			_, err = c.Write(heard)
		}
		ended <- err
	}()
	go func() {
		_, _ = early.Write(said)
		_ = early.CloseWrite()
	}()
	heard, err := io.ReadAll(early)
	check(t, err)
	check(t, <-ended)
	if !bytes.Equal(heard, said) {
		t.Errorf("%d of %d bytes came back", len(heard), len(said))
	}

	open := dial()
	defer func() { _ = open.Close() }()
	there, err := server.Accept()
	check(t, err)
	defer func() { _ = there.Close() }()
	check(t, r.Close())
	check(t, there.SetDeadline(deadline()))
	if _, err := there.Read(make([]byte, 1)); err == nil || errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("a connection outlives its relay: %v", err)
	}
	if c, err := net.Dial("tcp6", listener.Addr().String()); err == nil {
		t.Errorf("a closed relay accepts: %v", c.Close())
	}
}
