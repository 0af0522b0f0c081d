// Package host is the host's own kernel as a place for containers. One agent
// process serves them all; it is started when the first container needs it,
// and it outlives the daemon.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// writable is the name of the writable layer below a container's StateDir.
const writable = "writable"

// Config says what a Provider works with.
type Config struct {
	Run          string // directory of the agent: its socket, its log, its mounts
	Agent        string // the abode-agent program
	CgroupParent string // below which the agent makes its cgroups; no other engine's
	Log          *slog.Logger
}

// Provider gives containers the host's kernel.
type Provider struct {
	cfg Config

	closed  atomic.Bool // Close was called: another provider looks after the agent
	mu      sync.Mutex
	current *process // the agent that was last seen; nil before the first
}

// New returns a provider. It starts nothing.
func New(cfg Config) (*Provider, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Run, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the agent's directory: %w", err)
	}
	return &Provider{cfg: cfg}, nil
}

// Isolation is kernel.Container.
func (p *Provider) Isolation() kernel.Isolation { return kernel.Container }

// Capabilities of the host's kernel.
func (p *Provider) Capabilities() kernel.Capabilities {
	c := kernel.Capabilities{HostNetwork: true, HostDevices: true, HostNamespaces: true, Limits: limits()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		c.Description = "the host's kernel " + unix.ByteSliceToString(u.Release[:])
	}
	if _, err := os.Stat(p.cfg.Agent); err != nil {
		c.Available = fmt.Errorf("cannot find abode-agent: %w; run make install, or pass aboded --agent PATH", err)
	}
	return c
}

// CreateWritable makes the directory that becomes overlayfs's upper layer. The
// agent fills it; files in it have the owners that the container sees.
func (p *Provider) CreateWritable(_ context.Context, dir string, _ int) error {
	if err := os.Mkdir(filepath.Join(dir, writable), 0o700); err != nil {
		return fmt.Errorf("cannot make the writable layer: %w", err)
	}
	return nil
}

// Place returns the host's kernel, after its agent was started if need be.
func (p *Provider) Place(ctx context.Context, pl kernel.Placement) (kernel.Kernel, error) {
	a, err := p.ensure(ctx, true)
	if err != nil {
		return nil, err
	}
	return newPlaced(a, pl), nil
}

// Recover returns the host's kernel if the agent of an earlier daemon lives
// and still has the container; otherwise what the agent had is gone with it.
func (p *Provider) Recover(ctx context.Context, pl kernel.Placement) (kernel.Kernel, error) {
	a, err := p.ensure(ctx, false)
	if err != nil {
		return nil, err
	}
	var list agent.ListResponse
	if err := a.client.Call(ctx, agent.MethodList, agent.Empty{}, &list); err != nil {
		return nil, err
	}
	for _, c := range list.Containers {
		if c.ID == pl.ID {
			return newPlaced(a, pl), nil
		}
	}
	return nil, fmt.Errorf("%w: the agent has no container %s", kernel.ErrGone, pl.ID)
}

// Info asks the agent about its kernel, starting it if need be.
func (p *Provider) Info(ctx context.Context) (agent.InfoResponse, error) {
	var info agent.InfoResponse
	a, err := p.ensure(ctx, true)
	if err != nil {
		return info, err
	}
	return info, a.client.Call(ctx, agent.MethodInfo, agent.Empty{}, &info)
}

// Prepare lets the agent, which is started if need be, make the first process
// of a container that will have the interface nic, and returns its PID. The
// caller makes nic in that process's network namespace.
func (p *Provider) Prepare(ctx context.Context, nic string) (pid int, err error) {
	a, err := p.ensure(ctx, true)
	if err != nil {
		return 0, err
	}
	var made agent.ProcessResponse
	err = a.client.Call(ctx, agent.MethodPrepare, agent.PrepareRequest{NIC: nic, Comes: true}, &made)
	return made.PID, err
}

// Forget ends what was prepared with nic (empty: all) and taken by no
// container. Without an agent there is nothing.
func (p *Provider) Forget(ctx context.Context, nic string) error {
	a, err := p.ensure(ctx, false)
	if errors.Is(err, kernel.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.client.Call(ctx, agent.MethodForget, agent.PrepareRequest{NIC: nic}, nil)
}

// Close ends the agent if it has no container, and leaves it otherwise. The
// provider is not used afterwards.
func (p *Provider) Close(ctx context.Context) error {
	p.closed.Store(true)
	a, err := p.ensure(ctx, false)
	if errors.Is(err, kernel.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.client.Close()
	var list agent.ListResponse
	if err := a.client.Call(ctx, agent.MethodList, agent.Empty{}, &list); err != nil {
		return err
	}
	if len(list.Containers) > 0 {
		return nil
	}
	a.expected.Store(true)
	if err := a.client.Call(ctx, agent.MethodShutdown, agent.Empty{}, nil); err != nil && a.alive() {
		return fmt.Errorf("cannot end the host's agent: %w", err)
	}
	select {
	case <-a.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the host's agent does not end: %w", ctx.Err())
	}
}
