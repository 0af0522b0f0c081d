package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
	"go.uber.org/goleak"
)

// patience bounds what must happen soon; nothing depends on its length.
const patience = 20 * time.Second

// unixServer serves routes on a unix socket, as the daemon does.
func unixServer(t *testing.T, routes ...route) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "api.sock")
	ls, err := Listen("unix://"+path, Access{})
	if err != nil {
		t.Fatal(err)
	}
	serveRoutes(t, ls[0], routes)
	return path
}

// serveRoutes serves until the test ends.
func serveRoutes(t *testing.T, l net.Listener, routes []route) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	srv := NewServer(s.handler(routes), s.log)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
}

// noLeaks checks, after the test's other cleaning, that no goroutine is left.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// hijackRoute takes the connection over and hands it to serve, after which
// ended receives what the handler would return.
func hijackRoute(input bool, keys []byte, serve func(c *hijacked) error) (rt route, ended chan error) {
	ended = make(chan error, 1)
	return route{"POST", "/hijack", func(w http.ResponseWriter, r *http.Request) error {
		c, err := hijack(w, r, streamType(requested(r), true))
		if err != nil {
			ended <- err
			return err
		}
		defer c.shut()
		c.input(input)
		c.detachOn(keys)
		err = serve(c)
		ended <- err
		return c.served(err)
	}}, ended
}

func dial(t *testing.T, path, request string) (*net.UnixConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn), bufio.NewReader(conn)
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// docker-py loses what it reads together with the header.
func TestHijackHoldsBackForPython(t *testing.T) {
	rt, ended := hijackRoute(false, nil, func(c *hijacked) error {
		_, err := io.WriteString(c, "output")
		return err
	})
	path := unixServer(t, rt)
	conn, _ := dial(t, path, strings.Replace(upgradeRequest, "Host: x", "Host: x\r\nUser-Agent: docker-sdk-python/5.0.3", 1))
	time.Sleep(200 * time.Millisecond) // a client that is slow to begin
	first := make([]byte, 64<<10)
	n, err := conn.Read(first)
	if err != nil || !bytes.HasSuffix(first[:n], []byte("\r\n\r\n")) {
		t.Errorf("the first read has %q (%v)", first[:n], err)
	}
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != "output" {
		t.Errorf("then comes %q (%v)", rest, err)
	}
	if err := wait(t, ended, "the end"); err != nil {
		t.Error(err)
	}
}

const upgradeRequest = "POST /v1.42/hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

// TestHijackHalfClose sends input together with the request, ends its half,
// and still gets everything, framed.
func TestHijackHalfClose(t *testing.T) {
	noLeaks(t)
	rt, ended := hijackRoute(true, nil, func(c *hijacked) error {
		in, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		if c.ctx.Err() != nil {
			return errors.New("a closed half was taken for a hang-up")
		}
		if err := writeFrame(c, stdcopy.Stdout, bytes.ToUpper(in)); err != nil {
			return err
		}
		return writeFrame(c, stdcopy.Stderr, []byte(fmt.Sprint(len(in))))
	})
	path := unixServer(t, rt)
	conn, r := dial(t, path, upgradeRequest+"early ")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Status != "101 UPGRADED" || resp.Header.Get("Content-Type") != types.MediaTypeMultiplexedStream ||
		resp.Header.Get("Upgrade") != "tcp" || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Api-Version") == "" {
		t.Errorf("the response is %s %v", resp.Status, resp.Header)
	}
	big := strings.Repeat("x", 1<<20)
	go func() {
		io.WriteString(conn, "late "+big)
		conn.CloseWrite()
	}()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, r); err != nil {
		t.Fatal(err)
	}
	if want := "EARLY LATE " + strings.ToUpper(big); stdout.String() != want || stderr.String() != fmt.Sprint(len(want)) {
		t.Errorf("got %d bytes of output, %q of error", stdout.Len(), stderr.String())
	}
	if err := wait(t, ended, "the end"); err != nil {
		t.Error(err)
	}
}

// TestHijackOldForm is a client without Upgrade, of before API 1.42.
func TestHijackOldForm(t *testing.T) {
	rt, _ := hijackRoute(false, nil, func(c *hijacked) error {
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			return fmt.Errorf("input that is not wanted: %d %w", n, err)
		}
		_, err := io.WriteString(c, "raw")
		return err
	})
	path := unixServer(t, rt)
	_, r := dial(t, path, "POST /v1.41/hijack HTTP/1.1\r\nHost: x\r\n\r\n")
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(all); !strings.HasPrefix(s, "HTTP/1.1 200 OK\r\nContent-Type: "+types.MediaTypeRawStream+"\r\n") || !strings.HasSuffix(s, "\r\n\r\nraw") {
		t.Errorf("got %q", s)
	}
}

// TestHijackHangup closes the connection while nobody reads or writes it on
// our side, or after having closed the client's half first.
func TestHijackHangup(t *testing.T) {
	noLeaks(t)
	for _, c := range []struct {
		name        string
		input, half bool
	}{{"with input", true, false}, {"without input", false, false}, {"after a half", true, true}, {"without input, after a half", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			serving := make(chan struct{})
			rt, ended := hijackRoute(c.input, nil, func(h *hijacked) error {
				if c.half && c.input {
					if _, err := io.ReadAll(h); err != nil {
						return err
					}
				}
				close(serving)
				<-h.ctx.Done()
				return h.ctx.Err()
			})
			path := unixServer(t, rt)
			conn, _ := dial(t, path, upgradeRequest+"some input that nobody reads")
			if c.half {
				conn.CloseWrite()
			}
			wait(t, serving, "the takeover")
			select {
			case err := <-ended:
				t.Fatalf("ended before the client hung up: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			conn.Close()
			if err := wait(t, ended, "the hang-up's notice"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestDetach leaves with a key sequence that arrives in pieces.
func TestDetach(t *testing.T) {
	var got []byte
	rt, ended := hijackRoute(true, defaultDetachKeys, func(c *hijacked) error {
		buf := make([]byte, 100)
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				return err
			}
		}
	})
	path := unixServer(t, rt)
	conn, r := dial(t, path, upgradeRequest+"ls\x10")
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "\x11")
	if err := wait(t, ended, "the detaching"); !errors.Is(err, context.Canceled) {
		t.Errorf("reading ended with %v, which looks like the input's end", err)
	}
	if string(got) != "ls" {
		t.Errorf("got %q", got)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after detaching: %q %v", rest, err)
	}
}

// TestHangupEndsRequest is the other way to hang up: while a handler streams.
func TestHangupEndsRequest(t *testing.T) {
	ended := make(chan error, 1)
	path := unixServer(t, route{"POST", "/stream", func(w http.ResponseWriter, r *http.Request) error {
		newFlushed(w, "application/json")
		<-r.Context().Done()
		ended <- r.Context().Err()
		return r.Context().Err()
	}})
	conn, r := dial(t, path, "POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := wait(t, ended, "the hang-up's notice"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
