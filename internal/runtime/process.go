package runtime

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// process is a container's own process or one that was executed in it. Until
// it is started it is a stage or a child that waits.
type process struct {
	pid    int
	pidfd  *os.File // for signals
	waits  waiter
	stdio  *stdio
	ended  func() (oomKilled bool) // called once when it has exited
	onDone func()                  // called when all is over; may be nil

	startMu sync.Mutex

	mu      sync.Mutex
	started bool
	failed  bool // execve failed: the stage's exit is none of the workload's
	at      time.Time
	over    bool
	exit    agent.Exit

	dead chan struct{} // closed when it was reaped
	done chan struct{} // closed when exit is set and all output was written out
}

// waiter is what becomes the workload.
type waiter interface {
	// start returns when execve has succeeded, when the process was killed
	// before, or with the reason why there will be none.
	start() error
	close()
}

// newProcess watches one that waits to be started.
func newProcess(pid int, waits waiter, stdio *stdio, ended func() bool, onDone func()) (*process, error) {
	watch, err := openPidfd(pid)
	if err != nil {
		return nil, err
	}
	fd, err := openPidfd(pid)
	if err != nil {
		watch.Close()
		return nil, err
	}
	p := &process{pid: pid, pidfd: fd, waits: waits, stdio: stdio, ended: ended, onDone: onDone, dead: make(chan struct{}), done: make(chan struct{})}
	stdio.run()
	go p.watch(watch)
	return p, nil
}

func (p *process) watch(pidfd *os.File) {
	owned.add(p.pid)
	code, signal, err := childExit(pidfd)
	owned.remove(p.pid)
	if err != nil {
		code = 255
	}
	at := time.Now()
	oom := p.ended()
	close(p.dead)
	p.stdio.exit()
	p.startMu.Lock() // whoever starts it hears first why it has ended
	p.waits.close()
	p.startMu.Unlock()
	<-p.stdio.done
	p.mu.Lock()
	p.over = true
	p.exit = agent.Exit{Code: code, Signal: signal, OOMKilled: oom, At: at}
	p.mu.Unlock()
	p.pidfd.Close()
	close(p.done)
	if p.onDone != nil {
		p.onDone()
	}
}

func (p *process) start() error {
	p.startMu.Lock()
	defer p.startMu.Unlock()
	p.mu.Lock()
	switch {
	case p.started:
		p.mu.Unlock()
		return errorf(agent.ClassConflict, "the process was started already")
	case p.over:
		p.mu.Unlock()
		return errorf(agent.ClassConflict, "the process has ended before it was started")
	}
	p.started, p.at = true, time.Now()
	p.mu.Unlock()
	err := p.waits.start()
	if err != nil {
		p.mu.Lock()
		p.failed = true
		p.mu.Unlock()
	}
	return err
}

func (p *process) signal(sig int) error {
	select {
	case <-p.dead:
		return errorf(agent.ClassConflict, "the process has ended")
	default:
	}
	if err := signalPidfd(p.pidfd, sig); err != nil {
		if err == unix.ESRCH {
			return errorf(agent.ClassConflict, "the process has ended")
		}
		return fmt.Errorf("cannot send signal %d: %w", sig, err)
	}
	return nil
}

// kill is best effort: who must know waits for the end.
func (p *process) kill() { _ = p.signal(int(unix.SIGKILL)) }

func (p *process) describe() (state string, started time.Time, exit *agent.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		e := p.exit
		return agent.StateExited, p.at, &e
	case p.started:
		return agent.StateRunning, p.at, nil
	}
	return agent.StateCreated, time.Time{}, nil
}

// running says whether the workload runs.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.dead:
		return false
	default:
		return p.started && !p.failed
	}
}

// owned are the children that somebody here waits for.
var owned = &pidSet{pids: map[int]bool{}}

type pidSet struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (s *pidSet) add(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids[pid] = true
}

func (s *pidSet) remove(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, pid)
}

func (s *pidSet) has(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pids[pid]
}
