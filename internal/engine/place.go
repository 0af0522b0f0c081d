package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/moby/moby/api/types/mount"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/image"
	"github.com/abode-run/abode/internal/kernel"
)

// noTemplate is the annotation by which a guest is booted from cold.
const noTemplate = "abode.no-template"

// placement says what kernel a container needs. layers is false when the
// kernel is only to be found again.
func (c *Container) placement(ctx context.Context, rec *record, j *attachments, layers bool) (kernel.Placement, error) {
	p := kernel.Placement{
		ID:         c.id,
		StateDir:   string(c.dir),
		RunDir:     c.e.dirs.RunDir(runName(rec.Isolation), c.id),
		Log:        c.dir.Log(),
		CPUs:       cpus(&rec.Host.Resources),
		Memory:     rec.Host.Memory,
		Owner:      rec.Owner,
		NICs:       j.nics(),
		NoTemplate: rec.Host.Annotations[noTemplate] == "true",
	}
	for i, m := range rec.shared() {
		source := m.Source
		if m.Type == mount.TypeVolume {
			v, err := c.e.volumes.Get(m.Name)
			if err != nil {
				if layers {
					return p, err
				}
				continue
			}
			source = v.Mountpoint
		}
		p.Shares = append(p.Shares, kernel.Share{Tag: "share" + strconv.Itoa(i), Path: source, ReadOnly: m.ReadOnly})
	}
	img, err := c.e.images.Get(ctx, rec.Image.String())
	if err != nil {
		if layers {
			return p, fmt.Errorf("cannot find the image of container %s: %w", shortID(c.id), err)
		}
		return p, nil
	}
	p.Layers = kernelLayers(img)
	return p, nil
}

func kernelLayers(img image.Image) (layers []kernel.Layer) {
	for _, l := range img.Layers {
		layers = append(layers, kernel.Layer{Path: l.Path, Size: l.Size})
	}
	return layers
}

// runName is the directory below RUN in which an isolation's containers are.
func runName(i kernel.Isolation) string { return string(i) }

// shared are the mounts whose content is on the host.
func (rec *record) shared() []mountPoint {
	var list []mountPoint
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeTmpfs {
			list = append(list, m)
		}
	}
	return list
}

// prepareSources makes what is mounted exist.
func (c *Container) prepareSources(rec *record) error {
	for _, m := range rec.Mounts {
		switch m.Type {
		case mount.TypeVolume:
			if err := c.e.ensureVolume(m); err != nil {
				return err
			}
		case mount.TypeBind:
			_, err := os.Stat(m.Source)
			switch {
			case err == nil:
			case !errors.Is(err, os.ErrNotExist):
				return invalid("cannot mount %s: %v", m.Source, err)
			case !m.Create:
				return invalid("invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source)
			default:
				if err := os.MkdirAll(m.Source, 0o755); err != nil {
					return invalid("error while creating mount source path '%s': %v", m.Source, err)
				}
			}
		}
	}
	return nil
}

// describe is the container for the agent of k.
func (c *Container) describe(k kernel.Kernel, rec *record, j *attachments) (*agent.CreateRequest, error) {
	req, err := rec.request(j)
	if err != nil {
		return nil, err
	}
	req.Rootfs = k.Rootfs()
	req.Rootfs.ReadOnly = rec.Host.ReadonlyRootfs
	if rec.Host.LogConfig.Type != logNone {
		req.Log, req.LogBound = k.Log(), rec.bound()
	}
	req.Mounts = rec.shm()
	share := 0
	for _, m := range rec.Mounts {
		am := agent.Mount{Type: agent.MountTmpfs, Target: m.Target, ReadOnly: m.ReadOnly, Options: m.Options, Propagation: string(m.Propagation)}
		if m.Type != mount.TypeTmpfs {
			am.Type, am.Source = k.Share(share)
			am.CopyUp = m.Type == mount.TypeVolume && !m.NoCopy
			share++
		}
		if m.Target == shmPath {
			req.Mounts = slices.DeleteFunc(req.Mounts, func(m agent.Mount) bool { return m.Target == shmPath })
		}
		req.Mounts = append(req.Mounts, am)
	}
	req.Links = j.agentLinks(k)
	return req, nil
}

// shmPath is where memory is shared.
const shmPath = "/dev/shm"

// hostShm is the host's.
var hostShm = agent.Mount{Type: agent.MountBind, Source: shmPath, Target: shmPath, Options: []string{"nosuid", "nodev", "noexec"}}

// shm is what a container has at /dev/shm, or nothing.
func (rec *record) shm() []agent.Mount {
	switch mode := rec.Host.IpcMode; {
	case rec.joined != nil && rec.joined.shm.Type != "":
		return []agent.Mount{rec.joined.shm}
	case mode.IsNone():
		return nil
	case mode.IsHost():
		return []agent.Mount{hostShm}
	}
	return []agent.Mount{{
		Type: agent.MountTmpfs, Target: shmPath, Shareable: rec.Host.IpcMode.IsShareable(),
		Options: []string{"nosuid", "nodev", "noexec", "mode=1777", "size=" + strconv.FormatInt(rec.Host.ShmSize, 10)},
	}}
}
