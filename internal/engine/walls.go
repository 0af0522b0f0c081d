package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/host"
	"github.com/abode-run/abode/internal/kernel/vm"
	"github.com/abode-run/abode/internal/kernel/vm/kernels"
)

// cgroupParent is the cgroup that holds those of the engine's containers, on
// the host and in guests. Like the bridge, whose name it has, it is no other
// engine's.
func (e *Engine) cgroupParent() string { return e.cfg.Bridge }

// walls holds the provider of each isolation. It is the only place that knows
// which there are.
type walls struct {
	by    map[kernel.Isolation]kernel.Provider
	host  *host.Provider
	guest *vm.Provider
}

func (w *walls) open(e *Engine) error {
	var err error
	w.host, err = host.New(host.Config{Run: e.dirs.Run, Agent: e.cfg.AgentBinary, CgroupParent: e.cgroupParent(), Log: e.log})
	if err != nil {
		return err
	}
	w.guest, err = vm.New(vm.Config{Root: e.dirs.Root, Run: filepath.Join(e.dirs.Run, "standby"), AgentBinary: e.cfg.AgentBinary, Log: e.log})
	if err != nil {
		return err
	}
	w.by = map[kernel.Isolation]kernel.Provider{kernel.Container: w.host, kernel.VM: w.guest}
	return nil
}

// close ends what runs for a wall and has no container.
func (w *walls) close(ctx context.Context) error {
	w.guest.CloseStandbys()
	return w.host.Close(ctx)
}

func (w *walls) kernels() *kernels.Store { return w.guest.Kernels() }

// choose reads HostConfig.Isolation.
func (e *Engine) choose(i container.Isolation) (kernel.Isolation, error) {
	name := kernel.Isolation(strings.ToLower(string(i)))
	if i.IsDefault() {
		name = e.cfg.DefaultIsolation
	}
	if _, ok := e.walls.by[name]; !ok {
		return "", invalid("invalid isolation %q: choose %s (shares the host's kernel) or %s (has a kernel of its own)", i, kernel.Container, kernel.VM)
	}
	return name, nil
}

// wall returns the provider of a container's isolation.
func (e *Engine) wall(rec *record) (kernel.Provider, error) {
	p, ok := e.walls.by[rec.Isolation]
	if !ok {
		return nil, fmt.Errorf("cannot use isolation %q: this engine does not have it", rec.Isolation)
	}
	return p, nil
}

// tap says whether the container's interface is a hypervisor's.
func (rec *record) tap() bool { return rec.Isolation == kernel.VM }

// ownKernel says whether the kernel is the container's alone.
func (rec *record) ownKernel() bool { return rec.Isolation == kernel.VM }
