package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/image"
)

// mergeConfig fills in what the image says and the user does not. Rules are
// Docker's; where they surprise, the comment says so.
func mergeConfig(user *container.Config, img *image.ImageConfig) (*container.Config, error) {
	c := *user
	of := img.Config
	if c.User == "" {
		c.User = of.User
	}
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	for s := range of.ExposedPorts {
		p, err := apinetwork.ParsePort(s)
		if err != nil {
			return nil, invalid("the image exposes a port that does not exist: %v", err)
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = apinetwork.PortSet{}
		}
		c.ExposedPorts[p] = struct{}{}
	}
	c.Env = mergeEnv(of.Env, c.Env)
	labels := maps.Clone(of.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.Labels)
	c.Labels = labels
	// An entrypoint of the user's own makes the image's command meaningless.
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = slices.Clone(of.Cmd)
		}
		if c.Entrypoint == nil {
			c.Entrypoint = slices.Clone(of.Entrypoint)
		}
	}
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" { // --entrypoint ""
		c.Entrypoint = nil
	}
	if len(c.Entrypoint)+len(c.Cmd) == 0 {
		return nil, invalid("no command specified")
	}
	if c.WorkingDir == "" {
		c.WorkingDir = of.WorkingDir
	}
	c.Volumes = maps.Clone(c.Volumes)
	for target := range of.Volumes {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[target] = struct{}{}
	}
	if c.StopSignal == "" {
		c.StopSignal = of.StopSignal
	}
	c.Healthcheck = mergeHealth(of.Healthcheck, c.Healthcheck)
	if len(c.Shell) == 0 {
		c.Shell = of.Shell
	}
	return &c, nil
}

// mergeHealth fills in what the image says of its health check and the user
// does not.
func mergeHealth(base, user *container.HealthConfig) *container.HealthConfig {
	if base == nil || user == nil {
		return cmp.Or(user, base)
	}
	h := *user
	if len(h.Test) == 0 {
		h.Test = base.Test
	}
	h.Interval = cmp.Or(h.Interval, base.Interval)
	h.Timeout = cmp.Or(h.Timeout, base.Timeout)
	h.StartPeriod = cmp.Or(h.StartPeriod, base.StartPeriod)
	h.StartInterval = cmp.Or(h.StartInterval, base.StartInterval)
	h.Retries = cmp.Or(h.Retries, base.Retries)
	return &h
}

// mergeEnv adds to the image's environment the user's: an entry replaces the
// one of the same name in its place; one without "=" removes it.
func mergeEnv(base, user []string) []string {
	list := slices.Clone(base)
	at := map[string]int{}
	for i, e := range list {
		name, _, _ := strings.Cut(e, "=")
		at[name] = i
	}
	for _, e := range user {
		name, _, set := strings.Cut(e, "=")
		i, known := at[name]
		switch {
		case known && set:
			list[i] = e
		case known:
			list[i] = ""
			delete(at, name)
		case set:
			at[name] = len(list)
			list = append(list, e)
		}
	}
	return slices.DeleteFunc(list, func(e string) bool { return e == "" })
}
