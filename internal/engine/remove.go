package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/abode-run/abode/internal/state"
)

// Remove removes a container with its writable layer and its log.
func (e *Engine) Remove(ctx context.Context, name string, opts RemoveOptions) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	rec, st := c.snapshot()
	switch {
	case opts.Force: // also of one that is just removing itself, for whose end remove waits
	case st.Phase == phaseRemoving:
		return conflict("removal of container %s is already in progress", c.id)
	case st.Restarting:
		return conflict("cannot remove container \"/%s\": container is restarting: stop the container before removing or force remove", rec.Name)
	case st.Phase == phasePaused:
		return conflict("cannot remove container \"/%s\": container is paused and must be unpaused first", rec.Name)
	case st.Phase == phaseRunning, st.Phase == phaseStarting:
		return conflict("cannot remove container \"/%s\": container is running: stop the container before removing or force remove", rec.Name)
	}
	return c.remove(context.WithoutCancel(ctx), opts)
}

// remove does it. That another has removed the container meanwhile is no error.
func (c *Container) remove(ctx context.Context, opts RemoveOptions) error {
	for {
		if opts.Force {
			if err := c.kill(ctx, 9); err != nil && !errdefs.IsConflict(err) {
				return err
			}
		}
		if err := c.op.lock(ctx); err != nil {
			return err
		}
		_, st := c.snapshot()
		if !st.up() {
			break
		}
		c.op.unlock() // somebody has started it
		if !opts.Force {
			return conflict("cannot remove container %s: container is running: stop the container before removing or force remove", c.id)
		}
	}
	defer c.op.unlock()
	rec, st := c.snapshot()
	if st.Phase == phaseRemoving {
		return nil
	}
	// What a crash interrupts from here on, the next daemon finishes.
	if err := c.setStatus(func(st *status) { st.Phase = phaseRemoving }); err != nil {
		return err
	}
	if err := c.erase(rec, opts.Volumes); err != nil {
		c.e.log.Error("a removed container leaves files", "container", c.id, "error", err)
		return fmt.Errorf("container %s is removed but for some of its files: %w", shortID(c.id), err)
	}
	return nil
}

// erase removes all that there is of a container, and the container from sight
// even when its files cannot be removed now: the next daemon tries again.
func (c *Container) erase(rec *record, volumes bool) error {
	err := c.eraseFiles()
	c.e.containers.forget(c.id)
	if volumes {
		for _, m := range rec.Mounts {
			if m.Type != mount.TypeVolume || !m.Anonymous {
				continue
			}
			if rerr := c.e.RemoveVolume(context.WithoutCancel(c.e.ctx), m.Name, true); rerr != nil && !errdefs.IsConflict(rerr) {
				err = errors.Join(err, rerr)
			}
		}
	}
	c.gone()
	return err
}

// gone tells that a container is none any more.
func (c *Container) gone() {
	c.e.execs.forget(c.id)
	c.mu.Lock()
	code := c.st.ExitCode
	pending := c.pending
	c.pending = nil
	c.told = true
	waiting := c.take(container.WaitConditionRemoved, container.WaitConditionNextExit, container.WaitConditionNotRunning)
	c.mu.Unlock()
	for _, s := range pending {
		s.fail(nil)
	}
	c.event(events.ActionDestroy, nil)
	answer(waiting, code)
}

// eraseFiles removes the container's directory. What is cut short, the next
// daemon goes on with.
func (c *Container) eraseFiles() error {
	gone := c.dir.Removed()
	if err := os.Rename(string(c.dir), gone); err != nil {
		return err
	}
	var err error
	if !c.records.Passing() {
		err = state.SyncDir(c.e.dirs.Containers())
	}
	return errors.Join(err, os.RemoveAll(gone), c.records.Remove())
}

// Rename gives a container another name, also in the network.
func (e *Engine) Rename(ctx context.Context, name, newName string) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	if newName == "" {
		return invalid("Neither old nor new names may be empty")
	}
	if newName, err = checkName(newName); err != nil {
		return err
	}
	if err := c.op.lock(ctx); err != nil {
		return err
	}
	defer c.op.unlock()
	old, st := c.snapshot()
	if st.Phase == phaseRemoving {
		return notFound("No such container: %s", name)
	}
	if old.Name == newName {
		return invalid("Renaming a container with the same name as its current name")
	}
	if err := e.containers.rename(c.id, old.Name, newName); err != nil {
		return err
	}
	rec := *old
	rec.Name = newName
	if err := c.saveRecord(&rec); err != nil {
		_ = e.containers.rename(c.id, newName, old.Name)
		return err
	}
	e.renamed(&rec, &st.Networks)
	c.event(events.ActionRename, map[string]string{"oldName": "/" + old.Name})
	return nil
}

// saveRecord replaces what the container is, on disk and then in memory. The
// caller holds op.
func (c *Container) saveRecord(rec *record) error {
	if err := c.records.SaveConfig(rec); err != nil {
		return err
	}
	c.mu.Lock()
	c.rec = rec
	c.mu.Unlock()
	return nil
}

// ContainersPrune removes the containers that do not run and match the
// filters (label, label!, until).
func (e *Engine) ContainersPrune(ctx context.Context, filters map[string]map[string]bool) (container.PruneReport, error) {
	report := container.PruneReport{ContainersDeleted: []string{}}
	choose, err := pruneFilter(filters)
	if err != nil {
		return report, err
	}
	for _, c := range e.containers.all() {
		rec, st := c.snapshot()
		if st.up() || st.Phase == phaseStarting || st.Phase == phaseRemoving || !choose(rec) {
			continue
		}
		rw, _ := c.sizes(ctx)
		if err := c.remove(ctx, RemoveOptions{}); err != nil {
			if ctx.Err() != nil {
				return report, ctx.Err()
			}
			e.log.Warn("a container cannot be pruned", "container", c.id, "error", err)
			continue
		}
		report.ContainersDeleted = append(report.ContainersDeleted, c.id)
		report.SpaceReclaimed += uint64(max(rw, 0))
	}
	return report, nil
}
