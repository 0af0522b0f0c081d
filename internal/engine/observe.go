package engine

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// An Observer is told what becomes of containers. Starts and ends wait for its
// methods, so they return at once. They are called concurrently.
type Observer interface {
	// Started tells of a start that came off, and of its steps in their order.
	// Their names are the engine's own, a handful.
	Started(wall kernel.Isolation, took time.Duration, steps []Step)
	// StartFailed tells of one that was tried and came to nothing.
	StartFailed(wall kernel.Isolation)
	// Ended tells that a container no longer runs, also one that ended while
	// no daemon was there.
	Ended(wall kernel.Isolation)
}

// Step is one of those that a start is made of.
type Step struct {
	Name string
	Took time.Duration
}

type nobody struct{}

func (nobody) Started(kernel.Isolation, time.Duration, []Step) {}
func (nobody) StartFailed(kernel.Isolation)                    {}
func (nobody) Ended(kernel.Isolation)                          {}

// Figures count what an engine has at the moment. Each wall and each state has
// an entry, also where it counts nothing.
type Figures struct {
	Containers map[kernel.Isolation]map[container.ContainerState]int
	// Ready is how many places are kept ready for the next container.
	Ready map[kernel.Isolation]int
}

// Figures waits for nothing but locks that are held for moments.
func (e *Engine) Figures() Figures {
	f := Figures{Containers: map[kernel.Isolation]map[container.ContainerState]int{}, Ready: map[kernel.Isolation]int{}}
	for wall := range e.walls.by {
		f.Ready[wall] = 0
		f.Containers[wall] = map[container.ContainerState]int{
			container.StateCreated: 0, container.StateRunning: 0, container.StatePaused: 0, container.StateRestarting: 0,
			container.StateExited: 0, container.StateRemoving: 0, container.StateDead: 0,
		}
	}
	for _, c := range e.containers.all() {
		rec, st := c.snapshot()
		if states, ok := f.Containers[rec.Isolation]; ok { // else an engine had a wall that this one has not
			states[st.apiState()]++
		}
	}
	e.spares.mu.Lock()
	defer e.spares.mu.Unlock()
	for _, s := range e.spares.ready {
		f.Ready[s.wall]++
	}
	return f
}

// Operations that an engine tells its Tracer of.
const (
	OperationCreate = "container create"
	OperationStart  = "container start"
	OperationExec   = "container exec"
	OperationExit   = "container exit"
	OperationPull   = "image pull"
)

// Operation is something that an engine has done.
type Operation struct {
	Name                     string
	Container, ContainerName string // "" where it is of no container
	Image                    string
	Isolation                kernel.Isolation
	Began, Ended             time.Time
	Steps                    []Step // in their order, from Began
	Err                      error
}

// A Tracer is told what an engine has done and for whom: ctx is that of the
// call. It returns at once. It is called concurrently.
type Tracer interface {
	Did(ctx context.Context, op Operation)
}

// Did tells the Tracer, if there is one.
func (e *Engine) Did(ctx context.Context, op Operation) {
	if e.cfg.Tracer != nil {
		e.cfg.Tracer.Did(ctx, op)
	}
}

// did is Did for what was done with a container, timed by took.
func (c *Container) did(ctx context.Context, name string, took *stopwatch, err error) {
	if c.e.cfg.Tracer == nil {
		return
	}
	rec, _ := c.snapshot()
	c.e.Did(ctx, Operation{
		Name: name, Container: c.id, ContainerName: rec.Name, Image: rec.Config.Image, Isolation: rec.Isolation,
		Began: took.began, Ended: time.Now(), Steps: took.steps, Err: err,
	})
}
