package engine

import (
	"context"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/image"
	"github.com/abode-run/abode/internal/volume"
)

// imageUsers names the containers that use an image, those included that are
// just being created.
func (e *Engine) imageUsers(id digest.Digest) []string {
	var users []string
	for _, c := range e.containers.users() {
		if rec, _ := c.snapshot(); rec.Image == id {
			users = append(users, shortID(c.id))
		}
	}
	return users
}

// volumeUsers names the containers that use a volume.
func (e *Engine) volumeUsers(name string) []string {
	var users []string
	for _, c := range e.containers.users() {
		rec, _ := c.snapshot()
		for _, m := range rec.Mounts {
			if m.Type == mount.TypeVolume && m.Name == name {
				users = append(users, c.id)
				break
			}
		}
	}
	return users
}

// isRunning is what the image store asks of a container that imageUsers named.
func (e *Engine) isRunning(name string) bool {
	c, err := e.containers.find(name)
	if err != nil {
		return false
	}
	_, st := c.snapshot()
	return st.up() || st.Phase == phaseStarting || st.Borrowed
}

// RemoveImage removes an image, or one name of it, as image.Store.Remove does
// with what containers use.
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]image.Removed, error) {
	removed, err := e.images.Remove(ctx, ref, force, e.imageUsers)
	e.dropImageless(ctx)
	for _, r := range removed {
		if r.Untagged != "" {
			e.events.Publish(events.ImageEventType, events.ActionUnTag, r.Untagged, map[string]string{"name": r.Untagged})
		} else {
			e.events.Publish(events.ImageEventType, events.ActionDelete, r.Deleted, map[string]string{"name": r.Deleted})
		}
	}
	return removed, err
}

// PruneImages removes images without names, or with all those that no
// container uses, if match takes them (nil: any), and returns the bytes of disk that became free.
func (e *Engine) PruneImages(ctx context.Context, all bool, match func(image.Image) bool) ([]image.Removed, int64, error) {
	removed, reclaimed, err := e.images.Prune(ctx, all, match, e.imageUsers, nil)
	e.dropImageless(ctx)
	e.events.Publish(events.ImageEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatInt(reclaimed, 10)})
	return removed, reclaimed, err
}

// RemoveVolume removes a volume that no container uses. With force, one that
// does not exist is no error.
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error {
	err := e.volumes.Remove(name, e.volumeUsers)
	switch {
	case force && errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	e.events.Publish(events.VolumeEventType, events.ActionDestroy, name, map[string]string{"driver": "local"})
	return nil
}

// anonymousLabel is on volumes that nobody has named.
const anonymousLabel = volume.AnonymousLabel
