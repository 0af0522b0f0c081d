package compare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Label is on every container that a comparison makes; its value names the
// comparison.
const Label = "abode.compare"

// Entrant is who is to take part: an engine, and for Abode's which wall.
type Entrant struct {
	Name      string // container, vm, docker or podman
	Engine    string // in words
	Client    *client.Client
	Isolation container.Isolation // "" for other engines
	Elsewhere string              // why /proc of this machine doesn't show its processes; "" if it does
}

// Plan is what is to be measured.
type Plan struct {
	ID      string // of this comparison
	Image   string
	Command []string // empty: the image's own
	Env     []string // NAME=VALUE
	HTTP    *Target  // nil: none is asked
	Repeat  int
	Rest    time.Duration // before each run
	Settle  time.Duration // from ready to the measurement of memory
	Limit   time.Duration // until a command that has not ended, or not answered, is ended
	Host    *Host
	Say     func(string) // is told what is under way
}

// cleanTime is what the removal of a container may take.
const cleanTime = time.Minute

// made is a container that is removed whatever happens.
type made struct {
	c    *client.Client
	id   string
	once sync.Once
}

// create makes a container. The request isn't cut short, as the engine would
// go on and the container's name be lost.
func (e *Entrant) create(ctx context.Context, p *Plan, o client.ContainerCreateOptions) (*made, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o.Config.Image = p.Image
	o.Config.Labels = map[string]string{Label: p.ID}
	o.HostConfig.Isolation = e.Isolation
	r, err := e.Client.ContainerCreate(context.WithoutCancel(ctx), o)
	if err != nil {
		return nil, err
	}
	m := &made{c: e.Client, id: r.ID}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, m.remove(ctx))
	}
	return m, nil
}

// start isn't cut short either: the engine would go on, and a removal that
// comes meanwhile could be refused.
func (m *made) start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := m.c.ContainerStart(context.WithoutCancel(ctx), m.id, client.ContainerStartOptions{}); err != nil {
		return err
	}
	return ctx.Err()
}

// remove also goes on when ctx has ended.
func (m *made) remove(ctx context.Context) (err error) {
	m.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		for ctx.Err() == nil {
			_, err = m.c.ContainerRemove(ctx, m.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			if !errdefs.IsConflict(err) {
				break
			}
			time.Sleep(100 * time.Millisecond) // something else is under way with it
		}
		if err != nil && errdefs.IsNotFound(err) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("cannot remove the container %s: %w; remove it with its engine's 'rm -f'", m.id[:min(12, len(m.id))], err)
		}
	})
	return err
}

// processes finds the host's processes of a running container.
func (e *Entrant) processes(ctx context.Context, h *Host, id string) (found, error) {
	if e.Elsewhere != "" {
		return found{}, errors.New(e.Elsewhere)
	}
	r, err := e.Client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return found{}, err
	}
	state, dir := r.Container.State, ""
	if state == nil || !state.Running {
		return found{}, errEnded
	}
	if d := r.Container.GraphDriver; d != nil && e.Isolation != "" {
		dir = d.Data["Dir"]
	}
	var f found
	f.list, f.hypervisor = h.helpers(id, dir)
	switch {
	case e.Isolation == isolationVM:
		if f.hypervisor == nil {
			return found{}, errors.New("its hypervisor was not found among this machine's processes")
		}
	case !h.isInit(state.Pid):
		return found{}, fmt.Errorf("the engine says that it is process %d, and that is none of a container on this machine", state.Pid)
	default:
		f.first = state.Pid
		f.list = append(f.list, h.workload(state.Pid)...)
	}
	return f, nil
}

const isolationVM = container.Isolation("vm")

var errEnded = errors.New("it had ended before it could be measured")

// found are a container's processes on the host.
type found struct {
	list       []process
	first      int // the workload's first, 0 in a virtual machine
	hypervisor *process
}
