package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/image"
)

// CommitOptions say how Commit makes an image.
type CommitOptions struct {
	Ref             string // the image's name; may be empty
	Author, Comment string
	Changes         []string // Dockerfile instructions
	Pause           bool     // freezes a running container meanwhile
	// Config, if not nil, counts before the container's own.
	Config *container.Config
}

// Commit makes an image of a container: of its image and what it has changed,
// without what is mounted in it. It returns the image's ID.
func (e *Engine) Commit(ctx context.Context, name string, opts CommitOptions) (digest.Digest, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return "", err
	}
	rec, st := c.snapshot()
	config := imageConfig(rec.Config)
	if opts.Config != nil {
		merged, err := mergeConfig(opts.Config, &image.ImageConfig{Config: config})
		if err != nil {
			return "", err
		}
		config = imageConfig(merged)
	}
	client, back, err := c.borrow(ctx)
	if err != nil {
		return "", err
	}
	if opts.Pause && st.Phase == phaseRunning && e.Pause(ctx, c.id) == nil { // else it has ended meanwhile
		done := back
		back = func() {
			if err := e.Unpause(context.WithoutCancel(ctx), c.id); err != nil {
				e.log.Warn("a container stays paused after a commit", "container", c.id, "error", err)
			}
			done()
		}
	}
	r, err := c.stream(ctx, client, agent.MethodLayer, agent.IDRequest{ID: c.id}, back)
	if err != nil {
		return "", fromAgent(err)
	}
	defer r.Close()
	img, err := e.images.Commit(ctx, rec.Image, r, image.CommitOptions{
		Ref: opts.Ref, Config: config, Changes: opts.Changes, Author: opts.Author, Message: opts.Comment,
		CreatedBy: strings.Join(rec.Config.Cmd, " "),
	})
	if err != nil {
		return "", err
	}
	c.event(events.ActionCommit, map[string]string{"comment": opts.Comment, "imageID": img.ID.String(), "imageRef": opts.Ref})
	return img.ID, nil
}

// imageConfig is what an image keeps of a container's configuration.
func imageConfig(c *container.Config) dockerspec.DockerOCIImageConfig {
	var of dockerspec.DockerOCIImageConfig
	of.User, of.WorkingDir, of.StopSignal = c.User, c.WorkingDir, c.StopSignal
	of.Env, of.Cmd, of.Entrypoint = slices.Clone(c.Env), slices.Clone(c.Cmd), slices.Clone(c.Entrypoint)
	of.Labels, of.Volumes = maps.Clone(c.Labels), maps.Clone(c.Volumes)
	of.OnBuild, of.Shell, of.Healthcheck = slices.Clone(c.OnBuild), slices.Clone(c.Shell), c.Healthcheck
	for p := range c.ExposedPorts {
		if of.ExposedPorts == nil {
			of.ExposedPorts = map[string]struct{}{}
		}
		of.ExposedPorts[p.String()] = struct{}{}
	}
	return of
}
