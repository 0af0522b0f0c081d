package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// startDeadline is how long a new agent has to answer.
const startDeadline = 20 * time.Second

// process is a host agent that answers, or did.
type process struct {
	client   *agent.Client
	pidfd    int
	gone     chan struct{} // closed when the process has ended
	cleaned  chan struct{} // closed when, besides, a successor has removed what it left
	expected atomic.Bool   // it was told to end
}

func (a *process) alive() bool {
	select {
	case <-a.gone:
		return false
	default:
		return true
	}
}

// socket is the agent's, named by internal/state.
func (p *Provider) socket() string { return filepath.Join(p.cfg.Run, "agent.sock") }

// ensure returns the living agent: the one that is known, the one that an
// earlier daemon started, or with start a new one. Without start the error is
// kernel.ErrGone when there is none.
func (p *Provider) ensure(ctx context.Context, start bool) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ensureLocked(ctx, start)
}

func (p *Provider) ensureLocked(ctx context.Context, start bool) (*process, error) {
	if p.current != nil && p.current.alive() {
		return p.current, nil
	}
	if a, err := p.adopt(ctx); err == nil {
		p.current = a
		return a, nil
	}
	if !start {
		return nil, fmt.Errorf("%w: no agent runs", kernel.ErrGone)
	}
	if err := p.launch(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		a, err := p.adopt(ctx)
		if err == nil {
			p.current = a
			return a, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the host's agent does not answer: %w; see %s", err, filepath.Join(p.cfg.Run, "agent.log"))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// launch starts an agent that outlives this daemon. A second one finds the
// first one's lock and ends.
func (p *Provider) launch() error {
	cmd := exec.Command(p.cfg.Agent, "host", "--run", p.cfg.Run, "--cgroup-parent", p.cfg.CgroupParent)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the host's agent: %w", err)
	}
	go func() { _ = cmd.Wait() }() // reaps it
	return nil
}

// adopt connects to the agent that listens.
func (p *Provider) adopt(ctx context.Context) (*process, error) {
	pidfd, err := p.peer(ctx)
	if err != nil {
		return nil, err
	}
	a := &process{pidfd: pidfd, gone: make(chan struct{}), cleaned: make(chan struct{})}
	a.client = agent.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket())
	})
	var info agent.InfoResponse
	if err := a.client.Call(ctx, agent.MethodInfo, agent.Empty{}, &info); err != nil {
		a.client.Close()
		unix.Close(pidfd)
		return nil, err
	}
	if info.Version != agent.Version {
		a.client.Close()
		unix.Close(pidfd)
		return nil, fmt.Errorf("the running agent speaks protocol %d, this daemon %d: stop its containers with the daemon that started them", info.Version, agent.Version)
	}
	go p.watch(a)
	return a, nil
}

// watch waits for the agent's end. If nobody told it to end, its containers
// have died with it, and a successor is started to remove what it left.
func (p *Provider) watch(a *process) {
	fds := []unix.PollFd{{Fd: int32(a.pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	unix.Close(a.pidfd)
	close(a.gone)
	a.client.Close()
	if !a.expected.Load() && !p.closed.Load() {
		p.cfg.Log.Warn("the host's agent died; its containers are lost, a new one takes over")
		if _, err := p.ensure(context.Background(), true); err != nil {
			p.cfg.Log.Error("cannot replace the host's agent", "error", err)
		}
	}
	close(a.cleaned)
}

// peer returns a pidfd of the process that listens on the agent's socket.
func (p *Provider) peer(ctx context.Context) (int, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", p.socket())
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	pidfd := -1
	var credErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			pidfd, credErr = unix.PidfdOpen(int(cred.Pid), 0)
		}
	})
	if err = errors.Join(err, credErr); err != nil {
		return -1, fmt.Errorf("cannot tell which process is the agent: %w", err)
	}
	if _, err := os.Stat(p.socket()); err != nil { // it ended meanwhile
		unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}
