package vm

import (
	"bytes"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/kernel"
)

// TestLostShares has processes that stand for a guest's. That its shares are
// gone is told while it runs, and not when it is released and its hypervisor
// ends later than they do.
func TestLostShares(t *testing.T) {
	for _, released := range []bool{false, true} {
		var log lockedBuffer
		p := &Provider{log: slog.New(slog.NewTextHandler(&log, nil))}
		g := newGuest(p, kernel.Placement{ID: "x", RunDir: t.TempDir()}, nil, stand(t), notes{})
		g.share = stand(t)
		g.watch()
		done := make(chan struct{})
		if released {
			go func() { _ = g.Release(t.Context()); close(done) }()
			time.Sleep(100 * time.Millisecond) // its release has begun by then
		}
		g.share.signal(9)
		if released {
			<-done
		} else {
			time.Sleep(termTime + time.Second)
			_ = g.Release(t.Context())
		}
		if told := strings.Contains(log.String(), "lost its shares"); told == released {
			t.Errorf("released %t, told %t: %s", released, told, log.String())
		}
	}
}

// TestEndsByItself tells what the guest's kernel said last, unless the guest
// was released.
func TestEndsByItself(t *testing.T) {
	for _, released := range []bool{false, true} {
		var log lockedBuffer
		p := &Provider{log: slog.New(slog.NewTextHandler(&log, nil))}
		n, err := newNotes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.console.WriteString("Kernel panic - not syncing\n"); err != nil {
			t.Fatal(err)
		}
		g := newGuest(p, kernel.Placement{ID: "x", RunDir: t.TempDir()}, nil, stand(t), n)
		g.watch()
		if !released {
			g.proc.signal(9)
			<-g.done
		}
		_ = g.Release(t.Context())
		if told := strings.Contains(log.String(), "Kernel panic"); told == released {
			t.Errorf("released %t, told %t: %s", released, told, log.String())
		}
	}
}

// stand starts a process that SIGTERM doesn't end.
func stand(t *testing.T) *process {
	t.Helper()
	p, err := startDetached(exec.Command("sh", "-c", "trap '' TERM; exec sleep 100"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.signal(9); <-p.gone })
	return p
}

// lockedBuffer is a log that is read while it may be written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
