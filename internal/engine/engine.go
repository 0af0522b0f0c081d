package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/engine/events"
	"github.com/abode-run/abode/internal/image"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/kernels"
	"github.com/abode-run/abode/internal/layer"
	"github.com/abode-run/abode/internal/network"
	"github.com/abode-run/abode/internal/network/networks"
	"github.com/abode-run/abode/internal/state"
	"github.com/abode-run/abode/internal/volume"
)

// Engine owns a root directory and all containers in it. Its methods may be
// called concurrently. A container's name, where one is asked for, is its
// name, its ID or the beginning of its ID. Errors have a class of
// containerd/errdefs and Docker's texts.
type Engine struct {
	cfg        Config
	dirs       state.Dirs
	log        *slog.Logger
	images     *image.Store
	layers     *layer.Store
	volumes    *volume.Store
	network    *network.Network // the default one
	taps       *network.Taps
	networks   *networks.Store // those that users make
	walls      walls
	events     events.Broker
	containers *registry
	execs      execTable

	// ctx ends when the engine closes: what watches containers then stops
	// watching, and leaves them as they are.
	ctx       context.Context
	cancel    context.CancelFunc
	watch     sync.WaitGroup
	spares    spares
	fading    *semaphore.Weighted // of fadingMax
	restarts  *semaphore.Weighted // of restartsMax
	recovered chan struct{}       // closed when all is as recover makes it
	unlock    func()
}

// Open takes over cfg.Root. Containers that ran under an earlier daemon run on
// and are watched again; what ended meanwhile is recorded; what a crash left
// half done is finished or undone. When Open returns an error nothing of the
// engine is left, and containers are as they were.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	switch cfg.DefaultIsolation {
	case "":
		cfg.DefaultIsolation = kernel.Container
	case kernel.Container, kernel.VM:
	default:
		return nil, fmt.Errorf("cannot make %q the default isolation: there are %s and %s", cfg.DefaultIsolation, kernel.Container, kernel.VM)
	}
	if err := checkLogs(cfg.Logs); err != nil {
		return nil, fmt.Errorf("cannot log in this way by default: %w", err)
	}
	e := &Engine{cfg: cfg, dirs: state.Dirs{Root: cfg.Root, Run: cfg.Run}, log: cfg.Log, containers: newRegistry(cfg.Root), fading: semaphore.NewWeighted(fadingMax), restarts: semaphore.NewWeighted(restartsMax), recovered: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var cu cleanup.Stack
	defer cu.Clean()
	cu.Add(e.cancel)

	// Guests' hypervisors, which are users of their own, pass through these.
	for _, dir := range []string{cfg.Root, cfg.Run, e.dirs.Containers()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("cannot make the engine's directories: %w", err)
		}
	}
	var err error
	if e.unlock, err = state.Lock(e.dirs.Lock()); err != nil {
		return nil, err
	}
	cu.Add(e.unlock)
	if e.layers, err = layer.Open(e.dirs.Layers()); err != nil {
		return nil, err
	}
	e.images, err = image.Open(ctx, image.Config{
		Dir: e.dirs.Images(), Layers: e.layers, HostsDir: cfg.HostsDir, Running: e.isRunning, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	cu.Add(func() { e.images.Close() })
	if e.volumes, err = volume.Open(e.dirs.Volumes()); err != nil {
		return nil, err
	}
	e.taps = network.NewTaps(cfg.Bridge)
	e.network, err = network.Open(ctx, network.Config{
		Dir: e.dirs.Network(), Bridge: cfg.Bridge, Subnet: cfg.Subnet, Log: cfg.Log, Beyond: e.beyond,
		Reserved: func() []netip.Prefix { return e.networks.Subnets() },
	})
	if err != nil {
		return nil, errors.New(plain(err)) // for the user of the daemon that does not start
	}
	cu.Add(func() { e.network.Close(context.WithoutCancel(ctx)) })
	e.networks, err = networks.Open(ctx, networks.Config{Dir: e.dirs.Networks(), Run: e.dirs.NetworksRun(), Bridge: cfg.Bridge, Beyond: e.beyond, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	cu.Add(func() { e.networks.Close(context.WithoutCancel(ctx)) })
	if err := e.walls.open(e); err != nil {
		return nil, err
	}
	if err := e.recover(ctx); err != nil {
		return nil, err
	}
	cu.Release()
	close(e.recovered)
	return e, nil
}

// Close ends the engine. Containers that run go on, and the next engine of
// this root takes them over; when none runs, the network and the host's agent
// are taken away.
func (e *Engine) Close(ctx context.Context) error {
	e.cancel()
	e.watch.Wait()
	var errs []error
	for _, c := range e.containers.all() {
		c.mu.Lock()
		if c.kernel != nil && c.rec.ownKernel() {
			c.kernel.Agent().Close() // the next engine's is the one session that an agent has
		}
		c.mu.Unlock()
	}
	errs = append(errs, e.dropSpares(ctx))
	errs = append(errs, e.walls.close(ctx))
	errs = append(errs, e.networks.Close(ctx))
	errs = append(errs, e.network.Close(ctx))
	errs = append(errs, e.images.Close())
	e.unlock()
	return errors.Join(errs...)
}

// Images is the store of images; see RemoveImage and PruneImages for what
// containers have a say in.
func (e *Engine) Images() *image.Store { return e.images }

// Volumes is the store of volumes; see RemoveVolume.
func (e *Engine) Volumes() *volume.Store { return e.volumes }

// Bridge describes the default network: that of containers whose users name
// no other.
func (e *Engine) Bridge() (network.Description, error) { return e.network.Describe() }

// Events tells what happens.
func (e *Engine) Events() *events.Broker { return &e.events }

// Kernels is the store of guest kernels.
func (e *Engine) Kernels() *kernels.Store { return e.walls.kernels() }
