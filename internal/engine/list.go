package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// List lists containers, newest first: those that run, or what the options
// say.
func (e *Engine) List(ctx context.Context, opts ListOptions) ([]container.Summary, error) {
	match, err := e.listFilter(ctx, opts.Filters)
	if err != nil {
		return nil, err
	}
	list := []container.Summary{}
	names := map[string]string{} // of images, looked up once
	for _, c := range e.containers.all() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rec, st := c.snapshot()
		if !opts.All && opts.Limit <= 0 && !match.anyState && !st.up() {
			continue
		}
		if !match.accepts(c, rec, &st) {
			continue
		}
		list = append(list, e.summary(ctx, c, rec, &st, opts.Size, names))
		if opts.Limit > 0 && len(list) == opts.Limit {
			break
		}
	}
	return list, nil
}

func (e *Engine) summary(ctx context.Context, c *Container, rec *record, st *status, size bool, names map[string]string) container.Summary {
	s := container.Summary{
		ID:              rec.ID,
		Names:           []string{"/" + rec.Name},
		Image:           e.imageName(ctx, rec, names),
		ImageID:         rec.Image.String(),
		Command:         shellWords(rec.command()),
		Created:         rec.Created.Unix(),
		Ports:           rec.portSummary(&st.Networks),
		Labels:          rec.Config.Labels,
		State:           st.apiState(),
		Status:          st.text(time.Now()),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: rec.endpoints(st)},
		Mounts:          e.inspectMounts(rec),
		Health:          st.healthSummary(),
	}
	s.HostConfig.NetworkMode = string(rec.Host.NetworkMode)
	s.HostConfig.Annotations = rec.Host.Annotations
	if size {
		s.SizeRw, s.SizeRootFs = c.sizes(ctx)
	}
	return s
}

// imageName is how the image was called at the creation, or its ID when that
// name is another image's by now.
func (e *Engine) imageName(ctx context.Context, rec *record, names map[string]string) string {
	name := rec.Config.Image
	id, ok := names[name]
	if !ok {
		if img, err := e.images.Get(ctx, name); err == nil {
			id = img.ID.String()
		}
		names[name] = id
	}
	if id != rec.Image.String() {
		return rec.Image.String()
	}
	return name
}

// shellWords joins arguments as Docker shows commands.
func shellWords(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if i > 0 && strings.ContainsAny(a, " \t\n") {
			a = "'" + a + "'"
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}

// text is the state in words, as `docker ps` shows it.
func (s *status) text(now time.Time) string {
	since := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	if s.Restarting {
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, since(s.FinishedAt))
	}
	switch s.Phase {
	case phaseRunning:
		up := "Up " + since(s.StartedAt)
		switch h := s.Health; {
		case h == nil:
			return up
		case h.Status == container.Starting:
			return up + " (health: starting)"
		default:
			return fmt.Sprintf("%s (%s)", up, h.Status)
		}
	case phasePaused:
		return "Up " + since(s.StartedAt) + " (Paused)"
	case phaseRemoving:
		return "Removal In Progress"
	case phaseDead:
		return "Dead"
	}
	if s.StartedAt.IsZero() {
		return "Created"
	}
	if s.FinishedAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, since(s.FinishedAt))
}

// portSummary lists the ports of a running container.
func (rec *record) portSummary(j *attachments) []container.PortSummary {
	list := []container.PortSummary{}
	if len(j.Places) == 0 {
		return list
	}
	published := map[apinetwork.Port]bool{}
	for _, b := range j.ports() {
		if p, ok := apinetwork.PortFrom(b.ContainerPort, apinetwork.IPProtocol(b.Proto)); ok {
			published[p] = true
		}
		list = append(list, container.PortSummary{IP: b.HostIP, PrivatePort: b.ContainerPort, PublicPort: b.HostPort, Type: b.Proto})
	}
	for p := range rec.Config.ExposedPorts {
		if !published[p] {
			list = append(list, container.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto()), IP: netip.Addr{}})
		}
	}
	slices.SortFunc(list, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	return list
}
