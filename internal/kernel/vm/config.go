// Package vm gives containers a kernel of their own: a guest of QEMU's microvm
// machine whose PID 1 is the agent. A guest starts from a template, the saved
// memory of one that has booted and whose agent waits for work.
//
// A hypervisor runs as a user of its container alone, in QEMU's own sandbox,
// and opens no file by its path: disks, logs, sockets, the tap and the
// template's memory are opened by the daemon and handed over. It outlives the
// daemon; Recover finds it again.
package vm

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/accel"
	"github.com/abode-run/abode/internal/kernel/vm/kernels"
	"github.com/containerd/errdefs"
)

// Kernels is the store of guest kernels.
type Kernels = kernels.Store

// Config says where a provider keeps what, and with what it runs guests.
type Config struct {
	Root        string // lasting files: kernels, templates, the seed of writable disks
	Run         string // until the next start of the host: sockets of guests that were prepared
	AgentBinary string // static; PID 1 of the guests
	Log         *slog.Logger
	// Kernel is the guest kernel's name; empty means the store's default.
	Kernel string
	// QEMU is the hypervisor's path; empty means that of $PATH.
	QEMU string
	// TemplateOwner is the user ID that the hypervisor has which makes
	// templates; 0 means 524287, the one below the first container's.
	TemplateOwner int
	// Templates is how many are kept; 0 means 8.
	Templates int
	// Accelerator overrides the probe: "kvm" or "tcg".
	Accelerator string
}

// Provider makes guests. Its methods may be called concurrently.
type Provider struct {
	cfg     Config
	log     *slog.Logger
	kernels *Kernels
	tsc     tscClock

	mu        sync.Mutex
	accel     accel.Choice
	tools     toolchain
	templates templates
	standbys  standbys
}

var _ kernel.Provider = (*Provider)(nil)

// New returns a provider. It starts nothing and probes nothing yet.
func New(cfg Config) (*Provider, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.TemplateOwner == 0 {
		cfg.TemplateOwner = 524287
	}
	if cfg.Templates == 0 {
		cfg.Templates = 8
	}
	store, err := kernels.Open(filepath.Join(cfg.Root, "kernels"), cfg.Log)
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, log: cfg.Log, kernels: store}
	p.tsc.start()
	p.templates.init()
	return p, nil
}

// Kernels returns the store of guest kernels.
func (p *Provider) Kernels() *Kernels { return p.kernels }

// Isolation is kernel.VM.
func (p *Provider) Isolation() kernel.Isolation { return kernel.VM }

// Capabilities says what guests can do here: no part of the host is theirs.
func (p *Provider) Capabilities() kernel.Capabilities {
	c := kernel.Capabilities{Available: p.available()}
	if c.Available != nil {
		c.Description = "not available: " + c.Available.Error()
		return c
	}
	k, _ := p.kernels.Get(p.cfg.Kernel)
	a := p.accelerator()
	c.Description = fmt.Sprintf("%s, accelerator %s (%s), guest kernel %s", p.hypervisor().version, a.Name, a.Reason, k.Release)
	return c
}

// available returns nil, or what is missing with the command that gets it.
func (p *Provider) available() error {
	var missing []error
	if runtime.GOARCH != "amd64" {
		missing = append(missing, fmt.Errorf("virtual machines need an x86-64 host for now, this one is %s", runtime.GOARCH))
	}
	if _, err := p.qemuPath(); err != nil {
		missing = append(missing, err)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		missing = append(missing, errors.New(`mkfs.ext4 is not installed: run "apt-get install e2fsprogs"`))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing = append(missing, errors.New(`there is no /dev/net/tun: run "modprobe tun"`))
	}
	if _, err := p.kernels.Get(p.cfg.Kernel); err != nil {
		missing = append(missing, err)
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("cannot run virtual machines: %w: %w", errors.Join(missing...), errdefs.ErrFailedPrecondition)
}

func (p *Provider) qemuPath() (string, error) {
	if p.cfg.QEMU != "" {
		return p.cfg.QEMU, nil
	}
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return "", errors.New(`QEMU is not installed: run "apt-get install qemu-system-x86"`)
	}
	return path, nil
}

// accelerator is chosen once for the life of the process.
func (p *Provider) accelerator() accel.Choice {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accel.Name != "" {
		return p.accel
	}
	p.accel = accel.Choose(filepath.Join(p.cfg.Root, "vm"))
	if p.cfg.Accelerator != "" && p.cfg.Accelerator != p.accel.Name {
		p.accel = accel.Choice{Name: p.cfg.Accelerator, Reason: "as configured", KVMGroup: p.accel.KVMGroup}
	}
	return p.accel
}
