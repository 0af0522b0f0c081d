package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/state"
)

// Container is one container of an engine.
type Container struct {
	e       *Engine
	id      string
	dir     state.ContainerDir
	records state.Records

	op     opLock     // see the package's comment
	saving sync.Mutex // orders the writes of the status

	mu     sync.Mutex
	rec    *record
	st     status
	kernel kernel.Kernel // while the phase is active
	// abort ends a start that is under way.
	abort context.CancelCauseFunc
	// callOff ends the wait for a restart by policy.
	callOff context.CancelFunc
	// ended is closed when a container that is active no longer is, cleaned up
	// included. Nil before the first start.
	ended   chan struct{}
	waiters []*waiter
	told    bool       // those who waited were told of its removal
	pending []*pending // attached before the start
	monitor *monitor   // of its health, while it is checked
	// collected are processes that have ended and that the agent still knows.
	collected []string
	// keep holds AutoRemove back while the container is being restarted.
	keep int
}

// container returns a container that is nothing yet but an ID.
func (e *Engine) container(id string, passing bool) *Container {
	return &Container{e: e, id: id, dir: e.dirs.Container(id), records: e.dirs.Records(id, passing), op: newOpLock(), rec: &record{}}
}

// snapshot returns what a container is and does, as it is now.
func (c *Container) snapshot() (*record, status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec, c.st
}

func (c *Container) created() time.Time {
	rec, _ := c.snapshot()
	return rec.Created
}

// setStatus changes the status in memory and on disk. The change is applied
// even when the disk fails, because it says what has happened.
func (c *Container) setStatus(change func(*status)) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	change(&c.st)
	st := c.st
	c.mu.Unlock()
	return c.saveStatus(st)
}

func (c *Container) saveStatus(st status) error {
	if err := c.records.SaveState(st); err != nil {
		return fmt.Errorf("cannot record the state of container %s: %w", shortID(c.id), err)
	}
	return nil
}

// running returns the client of the agent of a container that runs or is
// paused; else a conflict.
func (c *Container) running() (*agent.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.st.Restarting {
		return nil, conflict("Container %s is restarting, wait until the container is running", c.id)
	}
	if !c.st.Phase.active() || c.kernel == nil {
		return nil, c.notRunning()
	}
	return c.kernel.Agent(), nil
}

func (c *Container) notRunning() error {
	return conflict("container %s is not running", c.id)
}

// event publishes something that happened to the container.
func (c *Container) event(action events.Action, more map[string]string) {
	rec, _ := c.snapshot()
	attributes := map[string]string{}
	for k, v := range rec.Config.Labels {
		attributes[k] = v
	}
	attributes["image"] = rec.Config.Image
	attributes["name"] = rec.Name
	for k, v := range more {
		attributes[k] = v
	}
	c.e.events.Publish(events.ContainerEventType, action, c.id, attributes)
}

// apiState is the phase in the Docker API's words.
func (s *status) apiState() container.ContainerState {
	if s.Restarting {
		return container.StateRestarting
	}
	if s.Phase == phaseStarting {
		return container.ContainerState(s.idle())
	}
	return container.ContainerState(s.Phase)
}

// opLock is a mutex whose Lock can be given up.
type opLock chan struct{}

func newOpLock() opLock { return make(opLock, 1) }

func (l opLock) lock(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l opLock) unlock() { <-l }
