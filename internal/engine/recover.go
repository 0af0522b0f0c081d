package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/mount"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/network"
	"github.com/abode-run/abode/internal/state"
)

// recoverTimeout bounds how long one container's kernel is looked for.
const recoverTimeout = 30 * time.Second

// recover reads all containers and makes true what an earlier daemon left:
// running ones are adopted, ended ones recorded, half-made ones removed,
// half-removed ones finished.
func (e *Engine) recover(ctx context.Context) error {
	found, err := e.readContainers()
	if err != nil {
		return err
	}
	// The network first: it keeps the places of those that may run, and the
	// others need theirs taken away before anything is attached.
	live := map[string][]network.Request{} // by network
	var taps []string
	for _, c := range found {
		mayRun := c.st.Phase.active() || c.st.Phase == phaseStarting
		if !mayRun {
			continue
		}
		taps = append(taps, c.st.Networks.Tap)
		for _, p := range c.st.Networks.Places {
			if ep := c.rec.endpoint(p.Network); ep != nil { // else it was being taken away
				live[p.Network] = append(live[p.Network], c.rec.networkRequest(ep))
			}
		}
	}
	if err := e.walls.host.Forget(ctx, ""); err != nil {
		e.log.Warn("what an earlier daemon has prepared is left", "error", err)
	}
	e.walls.guest.CleanStandbys()
	if err := e.taps.Sweep(taps); err != nil {
		e.log.Warn("taps of virtual machines that are gone are left", "error", err)
	}
	if err := e.network.Recover(ctx, live[defaultNetwork]); err != nil {
		return err
	}
	if err := e.networks.Recover(ctx, live); err != nil {
		e.log.Warn("what is left of a removed network cannot be removed", "error", err)
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, 8)
	for _, c := range found {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			c.recover(ctx)
		})
	}
	wg.Wait()
	return nil
}

// readContainers reads what is on disk and removes what is no container.
func (e *Engine) readContainers() ([]*Container, error) {
	entries, err := os.ReadDir(e.dirs.Containers())
	if err != nil {
		return nil, fmt.Errorf("cannot list containers: %w", err)
	}
	var list []*Container
	for _, entry := range entries {
		name := entry.Name()
		if state.IsRemoved(name) {
			if err := os.RemoveAll(filepath.Join(e.dirs.Containers(), name)); err != nil {
				e.log.Warn("what is left of a removed container cannot be removed", "directory", name, "error", err)
			}
			continue
		}
		if !state.IsID(name) {
			continue
		}
		c, err := e.readContainer(name)
		if err != nil {
			return nil, err
		}
		if c != nil {
			e.containers.adopt(c)
			list = append(list, c)
		}
	}
	return list, e.dropRecords()
}

// readContainer reads one; nil is none, of which nothing is left then.
func (e *Engine) readContainer(id string) (*Container, error) {
	c := e.container(id, true)
	if _, err := os.Stat(c.records.State()); errors.Is(err, os.ErrNotExist) {
		_ = c.records.Remove()
		c = e.container(id, false)
	}
	rerr := state.ReadJSON(c.records.Config(), c.rec)
	serr := state.ReadJSON(c.records.State(), &c.st)
	switch {
	case errors.Is(serr, os.ErrNotExist):
		e.log.Info("removing a container whose creation was cut short, or which was to be removed at its end and ended with the machine", "container", id)
		e.discard(c)
		return nil, nil
	case rerr != nil || serr != nil:
		return nil, fmt.Errorf("cannot read container %s: %w; restore the file, or move its directory away", shortID(id), errors.Join(rerr, serr))
	case c.rec.ID != id || c.rec.Config == nil || c.rec.Host == nil:
		return nil, fmt.Errorf("cannot read container %s: %s is not its configuration; restore the file, or move its directory away", shortID(id), c.records.Config())
	}
	return c, nil
}

// dropRecords removes the records of containers that are not there any more.
func (e *Engine) dropRecords() error {
	entries, err := os.ReadDir(e.dirs.Passing())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot list containers: %w", err)
	}
	for _, entry := range entries {
		id := entry.Name()
		if _, err := os.Stat(string(e.dirs.Container(id))); errors.Is(err, os.ErrNotExist) {
			if err := e.dirs.Records(id, true).Remove(); err != nil {
				e.log.Warn("what is left of a removed container cannot be removed", "container", id, "error", err)
			}
		}
	}
	return nil
}

// discard removes a container that never was one.
func (e *Engine) discard(c *Container) {
	for _, m := range c.rec.Mounts {
		if m.Type == mount.TypeVolume && m.Anonymous {
			_ = e.volumes.Remove(m.Name, nil) // it may not have been made yet
		}
	}
	if err := os.RemoveAll(string(c.dir)); err != nil {
		e.log.Warn("a container that was not created completely cannot be removed", "container", c.id, "error", err)
	}
}

// recover makes one container's state true. Its errors are logged: one that
// cannot be helped does not keep the others from running on.
func (c *Container) recover(ctx context.Context) {
	rec, st := c.snapshot()
	if rec.Host.RestartPolicy.IsAlways() { // also what was stopped by hand, as with Docker
		c.mu.Lock()
		c.st.CalledOff = false
		c.mu.Unlock()
	}
	switch {
	case st.Phase == phaseRemoving:
		if err := c.erase(rec, rec.Host.AutoRemove); err != nil {
			c.e.log.Warn("a container that was being removed leaves files", "container", c.id, "error", err)
		}
		return
	case st.Phase.active(), st.Phase == phaseStarting, st.Borrowed:
		c.trimLog(rec)
	default:
		c.resume()
		return
	}
	k, err := c.recoverKernel(ctx, rec, &st)
	if err != nil {
		if !errors.Is(err, kernel.ErrGone) {
			c.e.log.Warn("a container's kernel cannot be found again", "container", c.id, "error", err)
		}
		c.lost(nil)
		return
	}
	seen, ok := c.askAgent(ctx, k)
	switch {
	case !ok || seen.State == agent.StateCreated || st.Borrowed && !st.Phase.active():
		c.lost(k)
	default: // running, paused or ended meanwhile: waiting tells
		c.adopt(k, seen)
	}
}

func (c *Container) recoverKernel(ctx context.Context, rec *record, st *status) (kernel.Kernel, error) {
	wall, err := c.e.wall(rec)
	if err != nil {
		return nil, err
	}
	p, err := c.placement(ctx, rec, &st.Networks, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	return wall.Recover(ctx, p)
}

// askAgent returns what the agent of k knows of the container.
func (c *Container) askAgent(ctx context.Context, k kernel.Kernel) (agent.Container, bool) {
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	var list agent.ListResponse
	if err := k.Agent().Call(ctx, agent.MethodList, agent.Empty{}, &list); err != nil {
		c.e.log.Warn("the agent of a container does not answer", "container", c.id, "error", err)
		return agent.Container{}, false
	}
	for _, seen := range list.Containers {
		if seen.ID == c.id {
			return seen, true
		}
	}
	return agent.Container{}, false
}

// adopt goes on with a container that has run under an earlier daemon.
func (c *Container) adopt(k kernel.Kernel, seen agent.Container) {
	c.mu.Lock()
	c.kernel = k
	ended := make(chan struct{})
	c.ended = ended
	rec := c.rec
	c.mu.Unlock()
	err := c.setStatus(func(st *status) {
		if st.StartedAt.IsZero() || st.Phase == phaseStarting {
			st.StartedAt, st.Health = seen.StartedAt.UTC(), nil
		}
		if st.Health == nil {
			st.Health = newHealth(rec.Config, nil)
		}
		st.Phase, st.PID, st.Borrowed, st.Restarting = phaseRunning, seen.PID, false, false
		if seen.State == agent.StatePaused {
			st.Phase = phasePaused
		}
	})
	if err != nil {
		c.e.log.Error("an adopted container is not recorded", "container", c.id, "error", err)
	}
	c.e.watch.Go(func() { c.watchEnd(k, nil) })
	c.watchHealth()
	c.e.watch.Go(func() { c.watchLog(k, ended) })
}

// lost ends a container whose workload is not there any more, or never was
// started. k is the kernel that is to be given back, or nil.
func (c *Container) lost(k kernel.Kernel) {
	rec, st := c.snapshot()
	if st.Phase.active() {
		c.mu.Lock()
		c.ended = make(chan struct{})
		c.mu.Unlock()
		if k == nil {
			k = goneKernel{}
		}
		end := st.Ended
		if end == nil {
			end = &ended{agent.Exit{Code: exitKilled, At: time.Now()}, "the container ended while no daemon was running, with its agent or with the machine"}
		}
		c.finish(k, end.Exit, end.Why)
		return
	}
	if k != nil {
		c.giveBack(k, false)
	} else {
		c.giveBack(goneKernel{}, false)
	}
	if err := c.setStatus(func(st *status) {
		st.Phase, st.PID, st.Networks, st.Borrowed = st.idle(), 0, attachments{}, false
	}); err != nil {
		c.e.log.Error("a container's state is not recorded", "container", c.id, "error", err)
	}
	if st.Phase == phaseStarting && rec.Host.AutoRemove {
		if err := c.remove(context.WithoutCancel(c.e.ctx), RemoveOptions{Volumes: true}); err != nil {
			c.e.log.Warn("a container that did not start cannot be removed", "container", c.id, "error", err)
		}
		return
	}
	c.resume()
}

// goneKernel stands for one that is no more.
type goneKernel struct{ kernel.Kernel }

var goneDone = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (goneKernel) Done() <-chan struct{}         { return goneDone }
func (goneKernel) Release(context.Context) error { return nil }
