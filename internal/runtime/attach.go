package runtime

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/abode-run/abode/internal/agent"
)

// attacher is one who gets a process's output.
type attacher struct {
	w              io.Writer
	stdout, stderr bool
	mu             sync.Mutex
	done           chan struct{} // closed when no more output will come
	exited         chan struct{} // closed when the process has
}

// stall is how long an attacher may take none of what a process has left. Until
// the process ends it is waited for; then somebody waits for the end.
const stall = 4 * time.Second

// hurry bounds the write to an attacher that is under way, or the next.
func hurry(w io.Writer) {
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(stall))
	}
}

func (a *attacher) write(kind byte, p []byte) error {
	if kind == agent.IOStdout && !a.stdout || kind == agent.IOStderr && !a.stderr {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.exited:
		hurry(a.w)
	default:
	}
	return agent.WriteIO(a.w, kind, p)
}

func (s *stdio) attach(a *attacher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		close(a.done)
		return
	}
	s.attachers[a] = struct{}{}
}

func (s *stdio) detach(a *attacher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.attachers[a]; ok {
		delete(s.attachers, a)
		close(a.done)
	}
}

// Attach joins conn to a process's streams with I/O frames. begun is called
// once every byte from now on will be copied; it answers the call. Attach
// returns when the output has ended, when the peer has closed conn, or with
// ctx; the caller must then end reads and writes of conn.
func (r *Runtime) Attach(ctx context.Context, req *agent.AttachRequest, conn io.ReadWriter, begun func() error) error {
	p, err := r.process(req.ID, req.ExecID)
	if err != nil {
		return err
	}
	_, err = p.stdio.join(ctx, &req.AttachStreams, conn, begun)
	return err
}

// join says whether the output has ended.
func (s *stdio) join(ctx context.Context, to *agent.AttachStreams, conn io.ReadWriter, begun func() error) (ended bool, err error) {
	a := &attacher{w: conn, stdout: to.Stdout, stderr: to.Stderr, done: make(chan struct{}), exited: s.exited}
	a.mu.Lock() // output waits until the call was answered
	s.attach(a)
	defer s.detach(a)
	err = begun()
	a.mu.Unlock()
	if err != nil {
		return false, err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.input(conn, to.Stdin)
	}()
	select {
	case <-a.done:
		return true, nil
	case <-gone:
	case <-ctx.Done():
	}
	return false, nil
}

// input copies an attacher's frames to standard input until it is gone.
func (s *stdio) input(r io.Reader, stdin bool) {
	sent := false
	buf := make([]byte, 32<<10)
	for {
		kind, p, err := agent.ReadIO(r, buf)
		if err != nil {
			if sent && s.stdinOnce {
				s.closeStdin()
			}
			return
		}
		if !stdin {
			continue
		}
		switch kind {
		case agent.IOStdin:
			sent = true
			_ = s.write(p) // to a process that reads no more: dropped, as by a pipe's end
		case agent.IOStdinClose:
			if s.stdinOnce {
				s.closeStdin()
			}
		}
	}
}
