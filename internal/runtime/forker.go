package runtime

import (
	"fmt"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// A forker is a thread that clones processes, one at a time. It lives as long
// as this process, because the death of a thread is what PR_SET_PDEATHSIG
// reports to those that it has cloned.
type forker struct {
	s        *spawner
	requests chan func(*forker)
	away     bool // its children would belong to another PID namespace
}

// do calls f on a thread that no other call uses, and returns when f has.
func (s *spawner) do(f func(*forker)) {
	done := make(chan struct{})
	s.begin(func(t *forker) {
		defer close(done)
		f(t)
	})
	<-done
}

// begin is do that does not wait. As many threads are made as are needed at
// once.
func (s *spawner) begin(f func(*forker)) {
	s.mu.Lock()
	var t *forker
	if n := len(s.idle); n > 0 {
		t, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if t == nil {
		t = &forker{s: s, requests: make(chan func(*forker), 1)}
		go t.run()
	}
	t.requests <- f
}

func (t *forker) run() {
	// Never unlocked. The runtime makes no threads from a locked one, and this
	// could not while its children belong to another PID namespace.
	goruntime.LockOSThread()
	for f := range t.requests {
		f(t)
		t.s.mu.Lock()
		t.s.idle = append(t.s.idle, t)
		t.s.mu.Unlock()
	}
}

// among calls f while the thread's children belong to the PID namespace of the
// process whose pidfd is pids; -1: this process's own.
func (t *forker) among(pids int, f func() error) error {
	if err := t.back(); err != nil {
		return err
	}
	if pids >= 0 {
		if err := unix.Setns(pids, unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("cannot enter the PID namespace: %w", err)
		}
		t.away = true
	}
	err := f()
	_ = t.back() // else the next call tells
	return err
}

// back makes the thread's children this process's own namespace's.
func (t *forker) back() error {
	if !t.away {
		return nil
	}
	if err := unix.Setns(int(t.s.pids.Fd()), unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("cannot return to the agent's PID namespace: %w", err)
	}
	t.away = false
	return nil
}
