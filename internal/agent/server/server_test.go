package server

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/abode-run/abode/internal/agent"
)

// listen serves s on a unix socket and returns a client of it.
func listen(t *testing.T, s *Server) (*agent.Client, func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	drop := make(chan net.Conn, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			drop <- conn
			go s.ServeChannel(ctx, conn)
		}
	}()
	c := agent.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	})
	t.Cleanup(func() { c.Close(); cancel() })
	return c, func() { (<-drop).Close() }
}

func TestCallAndReconnect(t *testing.T) {
	c, breakSession := listen(t, New(Config{}))
	for range 3 {
		var info agent.InfoResponse
		if err := c.Call(t.Context(), agent.MethodInfo, agent.Empty{}, &info); err != nil {
			t.Fatal(err)
		}
		if info.Version != agent.Version || info.KernelRelease == "" {
			t.Fatalf("info: %+v", info)
		}
		// The call after the break may see it, the one after that may not.
		breakSession()
		c.Call(t.Context(), agent.MethodInfo, agent.Empty{}, nil)
	}
}

func TestErrorsKeepTheirClass(t *testing.T) {
	c, _ := listen(t, New(Config{}))
	err := c.Call(t.Context(), "no-such-method", nil, nil)
	if !errors.Is(err, &agent.Error{Class: agent.ClassInvalid}) {
		t.Fatalf("got %v", err)
	}
}

func TestEndOfContextCancelsTheCall(t *testing.T) {
	s := New(Config{})
	begun, ended := make(chan struct{}), make(chan struct{})
	s.methods["hang"] = plain(func(ctx context.Context, _ *agent.Empty) error {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	c, _ := listen(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if err := c.Call(ctx, "hang", nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	<-ended
}
