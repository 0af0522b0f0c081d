package engine

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/layer"
	"github.com/abode-run/abode/internal/network"
)

// listFilter says which containers are listed: all tests must accept.
type listFilter struct {
	tests []func(c *Container, rec *record, st *status) bool
	// anyState is set when a filter asks for those that do not run.
	anyState bool
}

func (f *listFilter) accepts(c *Container, rec *record, st *status) bool {
	for _, t := range f.tests {
		if !t(c, rec, st) {
			return false
		}
	}
	return true
}

func keys(m map[string]bool) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// listFilter reads Docker's filters of a container list. Values of one key are
// alternatives, but for labels, which all must be there.
func (e *Engine) listFilter(ctx context.Context, filters map[string]map[string]bool) (*listFilter, error) {
	f := &listFilter{}
	add := func(t func(c *Container, rec *record, st *status) bool) { f.tests = append(f.tests, t) }
	for key, set := range filters {
		values := keys(set)
		if len(values) == 0 {
			continue
		}
		switch key {
		case "id":
			add(func(c *Container, _ *record, _ *status) bool {
				return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(c.id, v) })
			})
		case "name":
			var exprs []*regexp.Regexp
			for _, v := range values {
				re, err := regexp.Compile(v)
				if err != nil {
					return nil, invalid("invalid filter 'name=%s': %v", v, err)
				}
				exprs = append(exprs, re)
			}
			add(func(_ *Container, rec *record, _ *status) bool {
				return slices.ContainsFunc(exprs, func(re *regexp.Regexp) bool {
					return re.MatchString("/"+rec.Name) || re.MatchString(rec.Name)
				})
			})
		case "status":
			for _, v := range values {
				if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
					return nil, invalid("invalid filter 'status=%s'", v)
				}
			}
			f.anyState = true
			add(func(_ *Container, _ *record, st *status) bool { return slices.Contains(values, string(st.apiState())) })
		case "exited":
			codes := []int{}
			for _, v := range values {
				n, err := strconv.Atoi(v)
				if err != nil {
					return nil, invalid("invalid filter 'exited=%s'", v)
				}
				codes = append(codes, n)
			}
			f.anyState = true
			add(func(_ *Container, _ *record, st *status) bool {
				return !st.up() && !st.FinishedAt.IsZero() && slices.Contains(codes, st.ExitCode)
			})
		case "label":
			add(func(_ *Container, rec *record, _ *status) bool { return hasLabels(rec.Config.Labels, values) })
		case "annotation":
			add(func(_ *Container, rec *record, _ *status) bool { return hasLabels(rec.Host.Annotations, values) })
		case "isolation":
			add(func(_ *Container, rec *record, _ *status) bool {
				return slices.ContainsFunc(values, func(v string) bool {
					return v == string(rec.Isolation) || v == "default" && rec.Isolation == e.cfg.DefaultIsolation
				})
			})
		case "ancestor":
			ids, err := e.descendants(ctx, values)
			if err != nil {
				return nil, err
			}
			add(func(_ *Container, rec *record, _ *status) bool {
				return ids[rec.Image] || slices.Contains(values, rec.Config.Image)
			})
		case "volume":
			add(func(_ *Container, rec *record, _ *status) bool {
				return slices.ContainsFunc(rec.Mounts, func(m mountPoint) bool {
					return m.Type == mount.TypeVolume && slices.Contains(values, m.Name) ||
						slices.Contains(values, m.Target) || slices.Contains(values, m.Source)
				})
			})
		case "network":
			add(func(_ *Container, rec *record, _ *status) bool {
				return slices.ContainsFunc(rec.shownEndpoints(), func(n endpoint) bool {
					return slices.ContainsFunc(values, func(v string) bool { return v == n.Name || v != "" && strings.HasPrefix(n.id(), v) })
				})
			})
		case "publish", "expose":
			test, err := portFilter(key == "publish", values)
			if err != nil {
				return nil, err
			}
			add(test)
		case "before", "since":
			for _, v := range values {
				other, err := e.containers.find(v)
				if err != nil {
					return nil, err
				}
				at := other.created()
				if key == "before" {
					add(func(_ *Container, rec *record, _ *status) bool { return rec.Created.Before(at) })
				} else {
					add(func(_ *Container, rec *record, _ *status) bool { return rec.Created.After(at) })
				}
			}
			f.anyState = true
		case "health":
			for _, v := range values {
				if err := container.ValidateHealthStatus(container.HealthStatus(v)); err != nil {
					return nil, invalid("%s", err)
				}
			}
			add(func(_ *Container, _ *record, st *status) bool {
				return slices.Contains(values, string(st.healthSummary().Status))
			})
		case "is-task":
			add(func(*Container, *record, *status) bool { return !set["true"] && !set["1"] })
		default:
			return nil, invalid("invalid filter '%s'", key)
		}
	}
	return f, nil
}

// hasLabels says whether all of want, as KEY or KEY=VALUE, are among labels.
func hasLabels(labels map[string]string, want []string) bool {
	for _, w := range want {
		key, value, exact := strings.Cut(w, "=")
		have, ok := labels[key]
		if !ok || exact && have != value {
			return false
		}
	}
	return true
}

// descendants returns the images that were made from one of those named:
// themselves, and those whose lowest layers are theirs.
func (e *Engine) descendants(ctx context.Context, names []string) (map[digest.Digest]bool, error) {
	ids := map[digest.Digest]bool{}
	all, err := e.images.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		base, err := e.images.Get(ctx, name)
		if err != nil {
			continue // no image, no containers of it
		}
		ids[base.ID] = true
		for _, img := range all {
			if n := len(base.Layers); n > 0 && len(img.Layers) >= n && slices.EqualFunc(img.Layers[:n], base.Layers, sameLayer) {
				ids[img.ID] = true
			}
		}
	}
	return ids, nil
}

func portFilter(published bool, values []string) (func(*Container, *record, *status) bool, error) {
	want := map[apinetwork.Port]bool{}
	for _, v := range values {
		r, err := apinetwork.ParsePortRange(v)
		if err != nil {
			return nil, invalid("invalid filter: %v", err)
		}
		for p := range r.All() {
			want[p] = true
		}
	}
	return func(_ *Container, rec *record, st *status) bool {
		if !published {
			for p := range rec.Config.ExposedPorts {
				if want[p] {
					return true
				}
			}
		}
		for p := range rec.Host.PortBindings {
			if want[p] {
				return true
			}
		}
		return published && slices.ContainsFunc(st.Networks.ports(), func(b network.PortBinding) bool {
			p, ok := apinetwork.PortFrom(b.HostPort, apinetwork.IPProtocol(b.Proto))
			return ok && want[p]
		})
	}, nil
}

// pruneFilter reads the filters of a prune.
func pruneFilter(filters map[string]map[string]bool) (func(*record) bool, error) {
	var tests []func(*record) bool
	for key, set := range filters {
		values := keys(set)
		if len(values) == 0 {
			continue
		}
		switch key {
		case "label":
			tests = append(tests, func(rec *record) bool { return hasLabels(rec.Config.Labels, values) })
		case "label!":
			tests = append(tests, func(rec *record) bool {
				return !slices.ContainsFunc(values, func(v string) bool { return hasLabels(rec.Config.Labels, []string{v}) })
			})
		case "until":
			if len(values) > 1 {
				return nil, invalid("more than one until filter specified")
			}
			until, err := parseUntil(values[0])
			if err != nil {
				return nil, err
			}
			tests = append(tests, func(rec *record) bool { return rec.Created.Before(until) })
		default:
			return nil, invalid("invalid filter '%s'", path.Clean(key))
		}
	}
	return func(rec *record) bool {
		return !slices.ContainsFunc(tests, func(t func(*record) bool) bool { return !t(rec) })
	}, nil
}

// parseUntil reads a duration back from now, seconds since 1970 or RFC 3339.
func parseUntil(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Unix(0, int64(n*1e9)), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Time{}, invalid("invalid value for until: %q", s)
}

func sameLayer(a, b layer.Layer) bool { return a.DiffID == b.DiffID }
