package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/state"
)

// Create makes a container and does not start it. An empty name means any. All
// that can be known to be wrong is refused here, before anything is made; on
// error nothing is left but named volumes, as with Docker. The warnings are
// for the user.
func (e *Engine) Create(ctx context.Context, name string, cfg *container.Config, host *container.HostConfig, net *apinetwork.NetworkingConfig, platform string) (id string, warnings []string, err error) {
	if cfg == nil {
		return "", nil, invalid("config cannot be empty in order to create a container")
	}
	if cfg.Image == "" {
		return "", nil, invalid("no image specified")
	}
	if err := checkHealth(cfg.Healthcheck); err != nil {
		return "", nil, err
	}
	if err := checkJoinedNetwork(cfg, host, net); err != nil {
		return "", nil, err
	}
	if name != "" {
		if name, err = checkName(name); err != nil {
			return "", nil, err
		}
	}
	h := container.HostConfig{}
	if host != nil {
		h = *host
	}
	rec := &record{ID: newID(), Created: time.Now().UTC(), Host: &h}
	if rec.Isolation, err = e.choose(h.Isolation); err != nil {
		return "", nil, err
	}
	h.Isolation = container.Isolation(rec.Isolation)
	h.LogConfig = e.logDefaults(h.LogConfig)
	wall, err := e.wall(rec)
	if err != nil {
		return "", nil, err
	}
	can := wall.Capabilities()
	if can.Available != nil {
		return "", nil, errorf(errdefs.ErrFailedPrecondition, "cannot use isolation %s: %s", rec.Isolation, plain(can.Available))
	}
	img, err := e.runnableImage(ctx, cfg.Image, platform)
	if err != nil {
		return "", nil, err
	}
	rec.Image, rec.Platform = img.ID, img.Config.OS
	if rec.Config, err = mergeConfig(cfg, &img.Config); err != nil {
		return "", nil, err
	}
	if err := checkConfig(rec.Config); err != nil {
		return "", nil, err
	}
	if warnings, err = checkHost(rec.Config, &h, can, rec.Isolation); err != nil {
		return "", nil, err
	}
	if _, _, warning := healthCheckOf(rec.Config); warning != "" {
		warnings = append(warnings, warning)
	}
	normalise(rec.Config, &h)
	if err := e.endpoints(rec, net); err != nil {
		return "", nil, err
	}
	if err := e.nameJoined(&h); err != nil {
		return "", nil, err
	}
	if rec.Mounts, err = e.mountPoints(rec.Config, &h, rec.Isolation); err != nil {
		return "", nil, err
	}
	if rec.Config.Hostname == "" {
		rec.Config.Hostname = shortID(rec.ID)
		if networkName(rec.Config, &h) == "host" {
			if n, err := os.Hostname(); err == nil {
				rec.Config.Hostname = n
			}
		}
	}
	if rec.Name, rec.Owner, err = e.containers.reserve(rec.ID, name); err != nil {
		return "", nil, err
	}
	if _, err := rec.logDetails(); err != nil {
		e.containers.forget(rec.ID)
		return "", nil, invalid("invalid log options: %v", err)
	}
	c := e.container(rec.ID, rec.passing())
	c.rec, c.st = rec, status{Phase: phaseCreated}
	e.containers.make(c)
	if err := c.make(ctx); err != nil {
		e.containers.forget(rec.ID)
		return "", nil, err
	}
	e.containers.add(c)
	c.event(events.ActionCreate, nil)
	return rec.ID, warnings, nil
}

// make puts a new container on disk. Its state file is what makes it one: a
// crash before leaves what the next daemon removes (see recover.go).
func (c *Container) make(ctx context.Context) (err error) {
	var cu cleanup.Stack
	defer cu.Clean()
	took := newStopwatch(ctx)
	defer func() { c.did(ctx, OperationCreate, took, err) }()
	rec, st := c.snapshot()
	// Who removes the image from now on sees that it is used.
	if _, err := c.e.images.Get(ctx, rec.Image.String()); err != nil {
		return fmt.Errorf("cannot create container: its image was removed meanwhile: %w", err)
	}
	took.lap("image")
	if err := os.Mkdir(string(c.dir), 0o711); err != nil {
		return fmt.Errorf("cannot create container: %w", err)
	}
	cu.Add(func() { os.RemoveAll(string(c.dir)) })
	if err := c.records.Make(); err != nil {
		return fmt.Errorf("cannot create container: %w", err)
	}
	cu.Add(func() { _ = c.records.Remove() })
	if err := c.records.SaveConfig(rec); err != nil {
		return err
	}
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		if m.Anonymous {
			cu.Add(func() { _ = c.e.volumes.Remove(m.Name, nil) })
		}
		if err := c.e.ensureVolume(m); err != nil {
			return err
		}
	}
	took.lap("state")
	wall, err := c.e.wall(rec)
	if err != nil {
		return err
	}
	if err := wall.CreateWritable(ctx, string(c.dir), rec.Owner); err != nil {
		return fmt.Errorf("cannot create container: %w", err)
	}
	took.lap("writable")
	if err := c.saveStatus(st); err != nil {
		return err
	}
	if !c.records.Passing() {
		if err := state.SyncDir(c.e.dirs.Containers()); err != nil {
			return fmt.Errorf("cannot create container: %w", err)
		}
	}
	took.lap("sync")
	cu.Release()
	return nil
}

// ensureVolume makes a mount's volume when it is not there.
func (e *Engine) ensureVolume(m mountPoint) error {
	if _, err := e.volumes.Get(m.Name); err == nil {
		return nil
	}
	labels := maps.Clone(m.Labels)
	if m.Anonymous {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[anonymousLabel] = ""
	}
	if _, err := e.volumes.Create(m.Name, labels); err != nil {
		return err
	}
	e.events.Publish(events.VolumeEventType, events.ActionCreate, m.Name, map[string]string{"driver": "local"})
	return nil
}
