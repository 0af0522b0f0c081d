package host

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// placed is the host's kernel as one container sees it.
type placed struct {
	agent     *process
	placement kernel.Placement

	release sync.Once
	done    chan struct{}
}

func newPlaced(a *process, pl kernel.Placement) *placed {
	k := &placed{agent: a, placement: pl, done: make(chan struct{})}
	go func() {
		select {
		case <-a.cleaned:
			k.release.Do(func() { close(k.done) })
		case <-k.done:
		}
	}()
	return k
}

func (k *placed) Agent() *agent.Client  { return k.agent.client }
func (k *placed) Log() string           { return k.placement.Log }
func (k *placed) Link(i int) string     { return k.placement.NICs[i] }
func (k *placed) Processes() []int      { return nil }
func (k *placed) Done() <-chan struct{} { return k.done }

func (k *placed) Rootfs() agent.Rootfs {
	r := agent.Rootfs{Upper: agent.Upper{Dir: filepath.Join(k.placement.StateDir, writable)}}
	for _, l := range k.placement.Layers {
		r.Layers = append(r.Layers, agent.Layer{Path: l.Path})
	}
	return r
}

// Share is a bind mount: the agent stands on the host.
func (k *placed) Share(i int) (mountType, source string) {
	return agent.MountBind, k.placement.Shares[i].Path
}

// Release forgets the container; the agent has deleted it by now, or is dead.
func (k *placed) Release(ctx context.Context) error {
	var err error
	k.release.Do(func() {
		if k.agent.alive() {
			err = k.agent.client.Call(ctx, agent.MethodDelete, agent.IDRequest{ID: k.placement.ID}, nil)
			if !k.agent.alive() {
				err = nil
			}
		}
		close(k.done)
	})
	return err
}
