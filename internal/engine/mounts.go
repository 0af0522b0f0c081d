package engine

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/abode-run/abode/internal/kernel"
)

// mountPoints gathers what is mounted into a container, in Docker's order of
// precedence: -v and --mount, then --tmpfs, then --volumes-from, then the
// image's and the config's volumes. Parents come before what is below them.
func (e *Engine) mountPoints(c *container.Config, h *container.HostConfig, wall kernel.Isolation) ([]mountPoint, error) {
	var list []mountPoint
	taken := map[string]bool{}
	add := func(m mountPoint) error {
		m.Target = path.Clean(m.Target)
		if m.Target == "/" {
			return invalid("invalid mount config: destination can't be '/'")
		}
		if taken[m.Target] {
			return invalid("Duplicate mount point: %s", m.Target)
		}
		if strings.ContainsRune(m.Target, 0) || strings.ContainsRune(m.Source, 0) {
			return invalid("invalid mount path: it holds a zero byte")
		}
		if wall == kernel.VM && m.Propagation != "" && m.Propagation != mount.PropagationRPrivate && m.Propagation != mount.PropagationPrivate {
			return invalid("cannot use bind propagation %s with isolation %q: mounts do not pass from one kernel to another", m.Propagation, wall)
		}
		if info, err := os.Stat(m.Source); wall == kernel.VM && m.Type == mount.TypeBind && err == nil && info.Mode()&os.ModeSocket != 0 {
			return invalid("cannot bind a socket of the host on %s with isolation %q: who listens is reached on the host's kernel alone; use --isolation container, or an address of the network", m.Target, wall)
		}
		taken[m.Target] = true
		list = append(list, m)
		return nil
	}
	for _, spec := range h.Binds {
		m, err := parseBind(spec)
		if err != nil {
			return nil, err
		}
		if err := add(m); err != nil {
			return nil, err
		}
	}
	for _, spec := range h.Mounts {
		m, err := parseMount(spec)
		if err != nil {
			return nil, err
		}
		if err := add(m); err != nil {
			return nil, err
		}
	}
	for target, opts := range h.Tmpfs {
		if !path.IsAbs(target) {
			return nil, invalid("invalid mount path: '%s' mount path must be absolute", target)
		}
		if err := add(mountPoint{Type: mount.TypeTmpfs, Target: target, Options: tmpfsOptions(opts)}); err != nil {
			return nil, err
		}
	}
	for _, from := range h.VolumesFrom {
		more, err := e.volumesFrom(from)
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			if !taken[m.Target] {
				if err := add(m); err != nil {
					return nil, err
				}
			}
		}
	}
	for target := range c.Volumes {
		if !path.IsAbs(target) {
			return nil, invalid("invalid mount path: '%s' mount path must be absolute", target)
		}
		if !taken[path.Clean(target)] {
			if err := add(mountPoint{Type: mount.TypeVolume, Target: target, Anonymous: true}); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(list, func(a, b mountPoint) int { return strings.Compare(a.Target+"/", b.Target+"/") })
	for i := range list {
		if list[i].Type == mount.TypeVolume && list[i].Name == "" {
			list[i].Name, list[i].Anonymous = newID(), true
		}
	}
	return list, nil
}

// parseBind reads one -v: [SOURCE:]TARGET[:MODE].
func parseBind(spec string) (mountPoint, error) {
	bad := func() (mountPoint, error) { return mountPoint{}, invalid("invalid volume specification: '%s'", spec) }
	parts := strings.Split(spec, ":")
	m := mountPoint{Type: mount.TypeVolume}
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2, 3:
		m.Name, m.Target = parts[0], parts[1]
		if m.Name == "" {
			return bad()
		}
		if len(parts) == 3 {
			m.Mode = parts[2]
		}
	default:
		return bad()
	}
	if !path.IsAbs(m.Target) {
		return mountPoint{}, invalid("invalid volume specification: '%s': invalid mount path: '%s' mount path must be absolute", spec, m.Target)
	}
	if path.IsAbs(m.Name) {
		m.Type, m.Source, m.Name = mount.TypeBind, path.Clean(m.Name), ""
		m.Create = true
		m.Propagation = mount.PropagationRPrivate
	} else if m.Name != "" && !nameRE.MatchString(m.Name) {
		return mountPoint{}, invalid("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", m.Name)
	}
	if m.Mode == "" {
		return m, nil
	}
	for mode := range strings.SplitSeq(m.Mode, ",") {
		switch {
		case mode == "ro":
			m.ReadOnly = true
		case mode == "rw" || mode == "z" || mode == "Z": // the latter are SELinux's
		case mode == "nocopy" && m.Type == mount.TypeVolume:
			m.NoCopy = true
		case slices.Contains(mount.Propagations, mount.Propagation(mode)) && m.Type == mount.TypeBind:
			m.Propagation = mount.Propagation(mode)
		case mode == "consistent" || mode == "cached" || mode == "delegated": // Docker Desktop's
		default:
			return mountPoint{}, invalid("invalid volume specification: '%s': invalid mode: %s", spec, m.Mode)
		}
	}
	return m, nil
}

// parseMount reads one --mount.
func parseMount(s mount.Mount) (mountPoint, error) {
	bad := func(format string, args ...any) (mountPoint, error) {
		return mountPoint{}, invalid("invalid mount config for type %q: "+format, append([]any{s.Type}, args...)...)
	}
	m := mountPoint{Type: s.Type, Target: s.Target, ReadOnly: s.ReadOnly}
	if s.Target == "" {
		return bad("field Target must not be empty")
	}
	if s.ImageOptions != nil && s.Type != mount.TypeImage || s.ClusterOptions != nil && s.Type != mount.TypeCluster {
		return bad("options of another type")
	}
	if !path.IsAbs(s.Target) {
		return bad("invalid mount path: '%s' mount path must be absolute", s.Target)
	}
	switch s.Type {
	case mount.TypeBind:
		switch {
		case s.Source == "":
			return bad("field Source must not be empty")
		case !path.IsAbs(s.Source):
			return bad("invalid mount path: '%s' mount path must be absolute", s.Source)
		case s.VolumeOptions != nil || s.TmpfsOptions != nil:
			return bad("options of another type")
		}
		m.Source = path.Clean(s.Source)
		m.Propagation = mount.PropagationRPrivate
		if o := s.BindOptions; o != nil {
			if o.Propagation != "" {
				if !slices.Contains(mount.Propagations, o.Propagation) {
					return bad("invalid propagation mode: %s", o.Propagation)
				}
				m.Propagation = o.Propagation
			}
			if o.NonRecursive || o.ReadOnlyNonRecursive {
				return mountPoint{}, later("a bind that is not recursive")
			}
			m.Create = o.CreateMountpoint
		}
		if _, err := os.Stat(m.Source); err != nil && !m.Create {
			return bad("bind source path does not exist: %s", s.Source)
		}
	case mount.TypeVolume:
		if s.BindOptions != nil || s.TmpfsOptions != nil {
			return bad("options of another type")
		}
		if s.Source != "" && !nameRE.MatchString(s.Source) {
			return bad("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", s.Source)
		}
		m.Name = s.Source
		if o := s.VolumeOptions; o != nil {
			if o.Subpath != "" {
				return mountPoint{}, later("a subpath of a volume")
			}
			if d := o.DriverConfig; d != nil && (d.Name != "" && d.Name != "local" || len(d.Options) > 0) {
				return mountPoint{}, later("volume driver %q with options", d.Name)
			}
			m.NoCopy, m.Labels = o.NoCopy, o.Labels
		}
	case mount.TypeTmpfs:
		switch {
		case s.Source != "":
			return bad("field Source must not be specified")
		case s.BindOptions != nil || s.VolumeOptions != nil:
			return bad("options of another type")
		}
		opts, err := tmpfsMount(s)
		if err != nil {
			return mountPoint{}, err
		}
		m.Options = opts
	default:
		return mountPoint{}, invalid("mount type unknown: %q", s.Type)
	}
	return m, nil
}

// volumesFrom returns what another container has mounted: NAME[:ro|rw].
func (e *Engine) volumesFrom(spec string) ([]mountPoint, error) {
	name, mode, _ := strings.Cut(spec, ":")
	if mode != "" && mode != "ro" && mode != "rw" {
		return nil, invalid("invalid mode for volumes-from: %s", mode)
	}
	c, err := e.containers.find(name)
	if err != nil {
		return nil, invalid("cannot use volumes-from: %v", err)
	}
	rec, _ := c.snapshot()
	var list []mountPoint
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeTmpfs {
			continue
		}
		m.ReadOnly = m.ReadOnly || mode == "ro"
		m.Anonymous = false // it stays the other's to remove
		list = append(list, m)
	}
	return list, nil
}
