package compare

import (
	"context"
	"encoding/json"
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

	Throughput bool     // of disk and network too
	Program    string   // that is the gauge: a static program, which calls gauge.Serve
	Gauge      []string // its arguments then
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
	if e.Isolation == isolationVM {
		return e.machine(ctx, h, id)
	}
	if e.Elsewhere != "" {
		return found{}, errors.New(e.Elsewhere)
	}
	r, err := e.Client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return found{}, err
	}
	state := r.Container.State
	if state == nil || !state.Running {
		return found{}, errEnded
	}
	if !h.isInit(state.Pid) {
		return found{}, fmt.Errorf("the engine says that it is process %d, and that is none of a container on this machine", state.Pid)
	}
	return found{first: state.Pid, list: append(h.helpers(id), h.workload(state.Pid)...)}, nil
}

// machine asks the engine for the host's part of a virtual machine.
func (e *Entrant) machine(ctx context.Context, h *Host, id string) (f found, err error) {
	var all []process
	if e.Elsewhere == "" {
		all = h.processes(false) // now: to answer takes the guest some CPU time
	}
	r, err := e.Client.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
		return f, errEnded
	}
	if err != nil {
		return f, err
	}
	defer r.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return f, fmt.Errorf("cannot read the engine's answer: %w", err)
	}
	told := s.MemoryStats.Stats
	if f.memory = float64(told["abode_hypervisor_bytes"]); f.memory == 0 {
		return f, errors.New("the engine does not tell what the hypervisor uses")
	}
	for _, p := range all {
		// A PID of another machine names some other process here.
		later := float64(told["abode_hypervisor_cpu_nanoseconds"])/1e9 - p.cpu
		if uint64(p.pid) == told["abode_hypervisor_pid"] && later > -1 && later < 60 {
			f.hypervisor = &p
			f.list = append(h.helpers(id), p)
		}
	}
	return f, nil
}

const isolationVM = container.Isolation("vm")

var errEnded = errors.New("it had ended before it could be measured")

// found are a container's processes on the host.
type found struct {
	list       []process
	first      int      // the workload's first, 0 in a virtual machine
	hypervisor *process // nil where there is none, or it is not on this machine
	memory     float64  // as the engine tells it of a virtual machine
}
