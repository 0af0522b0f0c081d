package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/yamux"
)

// TestHandshakeSkipsWhatAnEarlierSessionLeft feeds both sides bytes of an
// earlier session first, among them a greeting and an echo of another nonce.
func TestHandshakeSkipsWhatAnEarlierSessionLeft(t *testing.T) {
	old := bytes.Repeat([]byte{7}, nonceLen)
	junk := make([]byte, 5000)
	rand.Read(junk)
	for name, left := range map[string][]byte{
		"nothing":          nil,
		"noise":            junk,
		"old hello":        message(magicHello, old),
		"old hello and go": append(message(magicHello, old), message(magicGo, old)...),
		"half a hello":     message(magicHello, old)[:11],
		"old echo":         message(magicEcho, old),
		"magic in noise":   append([]byte(magicHello), junk...),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "old hello and go" {
				t.Skip("a complete handshake of a dead daemon begins a session that keepalive ends")
			}
			daemon, peer := socketPair(t)
			if _, err := peer.Write(left); err != nil {
				t.Fatal(err)
			}
			if _, err := daemon.Write(left); err != nil {
				t.Fatal(err)
			}
			sessions := make(chan *yamux.Session, 1)
			go func() {
				s, err := Accept(t.Context(), peer)
				if err != nil {
					t.Errorf("accept: %v", err)
				}
				sessions <- s
			}()
			c, err := Connect(t.Context(), daemon)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s := <-sessions
			defer s.Close()
			if _, err := c.Ping(); err != nil {
				t.Fatalf("ping after the handshake: %v", err)
			}
		})
	}
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	daemon, _ := socketPair(t) // nobody answers
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, daemon); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
}

// TestLateEchoesAreSkipped has the agent echo several times, as one does that
// was restarted while greetings waited in the pipe.
func TestLateEchoesAreSkipped(t *testing.T) {
	late := bytes.Repeat(message(magicEcho, make([]byte, nonceLen)), 3)
	in := io.MultiReader(bytes.NewReader(late), bytes.NewReader([]byte{0, 1, 2}))
	s := &stream{ReadWriteCloser: struct {
		io.Reader
		io.WriteCloser
	}{in, nil}}
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, []byte{0, 1, 2}) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func socketPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0f\x00\x00\x00\x01m\x00\x00\x00\x02{}\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x0a\x00\x00\x00\x02{}\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x04\xff\xff\xff\xff"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Response
		_ = ReadFrame(bytes.NewReader(b), &r)
		var q Request
		in := bytes.NewReader(b)
		if ReadFrame(in, &q) != nil {
			return
		}
		var back bytes.Buffer
		if err := WriteFrame(&back, &q); err != nil {
			t.Fatal(err)
		}
		if read := b[:len(b)-in.Len()]; !bytes.Equal(back.Bytes(), read) {
			t.Errorf("%q came back as %q", read, back.Bytes())
		}
	})
}

// What a request leaves out of its JSON is never lost by passing it by value.
func TestBlobByValue(t *testing.T) {
	c := NewClient(func(context.Context) (net.Conn, error) { return nil, errors.New("it was dialled") })
	err := c.Call(t.Context(), MethodCreate, CreateRequest{Seccomp: []byte{1}}, nil)
	if err == nil || !strings.Contains(err.Error(), "by value") {
		t.Errorf("got %v", err)
	}
}

func FuzzReadIO(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x02ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			kind, p, err := ReadIO(r, make([]byte, 16))
			if err != nil {
				return
			}
			var back bytes.Buffer
			if err := WriteIO(&back, kind, p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("noise\xabode"), make([]byte, nonceLen))
	f.Fuzz(func(t *testing.T, noise, nonce []byte) {
		if len(nonce) != nonceLen || bytes.Contains(noise, []byte(magicGo)) {
			return
		}
		in := append(bytes.Clone(noise), message(magicGo, nonce)...)
		if _, got, err := scan(bytes.NewReader(in), magicGo); err != nil || !bytes.Equal(got, nonce) {
			t.Fatalf("got %x, %v", got, err)
		}
	})
}
