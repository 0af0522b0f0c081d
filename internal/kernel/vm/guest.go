package vm

import (
	"context"
	"sync"
	"time"

	"github.com/abode-run/abode/internal/agent"
	agentguest "github.com/abode-run/abode/internal/agent/guest"
	"github.com/abode-run/abode/internal/kernel"
)

// guest is one running virtual machine.
type guest struct {
	provider  *Provider
	placement kernel.Placement
	layers    []agent.Layer
	proc      *process
	share     *process // nil without shares
	notes     notes
	client    *agent.Client

	done      chan struct{}
	release   sync.Once
	releasing chan struct{} // closed when Release begins
}

var _ kernel.Kernel = (*guest)(nil)

func newGuest(p *Provider, pl kernel.Placement, placed []agent.Layer, proc *process, n notes) *guest {
	g := &guest{provider: p, placement: pl, layers: placed, proc: proc, notes: n, done: make(chan struct{}), releasing: make(chan struct{})}
	g.client = newClient(func() string { return g.placement.RunDir })
	return g
}

// watch closes done when the hypervisor has ended. The share helper ends by
// itself then, as its socket closes; when it ends before, and not because the
// guest is released, that is told.
func (g *guest) watch() {
	if g.share != nil {
		go func() {
			<-g.share.gone
			select {
			case <-g.releasing:
				return // the hypervisor closes the socket first, and takes its time to end
			default:
			}
			select {
			case <-g.proc.gone:
			case <-time.After(termTime): // the hypervisor's end is noticed too by then
				g.provider.log.Warn("a virtual machine lost its shares", "container", g.placement.ID, "says", noteText(g.notes.share, 1000))
			}
		}()
	}
	go func() {
		<-g.proc.gone
		g.client.Close()
		select {
		case <-g.releasing:
		default: // a kernel that panics resets, which ends the hypervisor
			g.provider.log.Warn("a virtual machine ended by itself"+g.notes.quote(), "container", g.placement.ID)
		}
		close(g.done)
	}()
}

func (g *guest) Agent() *agent.Client { return g.client }

// Rootfs places the layers on the image disk; the upper layer is a disk too.
func (g *guest) Rootfs() agent.Rootfs { return rootfs(g.layers) }

func rootfs(placed []agent.Layer) agent.Rootfs {
	return agent.Rootfs{Layers: placed, Upper: agent.Upper{Device: writableDevice}}
}

func (g *guest) Log() string { return "/dev/virtio-ports/" + agentguest.LogPort }

// Link is the guest's only network device, as its kernel names it.
func (g *guest) Link(int) string { return "eth0" }

func (g *guest) Share(i int) (mountType, source string) {
	return agent.MountShare, g.placement.Shares[i].Tag
}

func (g *guest) Processes() []int {
	var pids []int
	if g.proc.alive() {
		pids = append(pids, g.proc.PID)
	}
	if g.share != nil && g.share.alive() {
		pids = append(pids, g.share.PID)
	}
	return pids
}

func (g *guest) Done() <-chan struct{} { return g.done }

// Times for a guest to end in.
const (
	shutdownTime = 10 * time.Second
	termTime     = 2 * time.Second
)

// Release shuts the guest down. Its agent answers when all is written out, so
// the hypervisor can end at once then; without an answer it is killed, which
// the disk's journal survives.
func (g *guest) Release(ctx context.Context) error {
	g.release.Do(func() {
		close(g.releasing)
		if g.proc.alive() && ctx.Err() == nil {
			sctx, cancel := context.WithTimeout(ctx, shutdownTime)
			err := call(sctx, g.proc, g.client, agent.MethodShutdown, nil, nil)
			cancel()
			if err != nil && g.proc.alive() {
				g.provider.log.Warn("a virtual machine did not shut down and is ended", "container", g.placement.ID, "err", err)
			}
		}
		g.proc.end(ctx, termTime)
		<-g.done
		if g.share != nil {
			g.share.end(ctx, termTime)
		}
		g.notes.close()
		removeFiles(g.placement.RunDir)
	})
	return nil
}
