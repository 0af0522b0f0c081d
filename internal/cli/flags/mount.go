package flags

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

// Mount reads one value of --mount: comma-separated KEY=VALUE fields, the
// keys being those of `docker run --mount`.
func Mount(value string) (mount.Mount, error) {
	m := mount.Mount{Type: mount.TypeVolume}
	fields, err := csv.NewReader(strings.NewReader(strings.TrimSpace(value))).Read()
	if err != nil {
		return m, fmt.Errorf("invalid mount %q: %w; expected KEY=VALUE[,KEY=VALUE...]", value, err)
	}
	for _, f := range fields {
		key, v, given := strings.Cut(f, "=")
		key = strings.ToLower(key)
		if !given {
			switch key {
			case "readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src":
				v = "true"
			default:
				return m, fmt.Errorf("invalid field '%s' must be a key=value pair", f)
			}
		}
		if err := mountField(&m, key, v, f); err != nil {
			return m, err
		}
	}
	return m, checkMount(&m)
}

func mountField(m *mount.Mount, key, value, field string) (err error) {
	switch prefix, _, _ := strings.Cut(key, "-"); prefix {
	case "bind":
		return bindField(m, key, value, field)
	case "volume", "image":
		return volumeField(m, key, value, field)
	case "tmpfs":
		return tmpfsField(m, key, value, field)
	}
	switch key {
	case "type":
		m.Type = mount.Type(strings.ToLower(value))
	case "source", "src":
		m.Source = value
		if value == "." || strings.HasPrefix(value, "./") || value == ".." || strings.HasPrefix(value, "../") {
			m.Source, err = filepath.Abs(value)
		}
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly, err = boolean(key, value)
	case "consistency":
		m.Consistency = mount.Consistency(strings.ToLower(value))
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return err
}

func bindField(m *mount.Mount, key, value, field string) (err error) {
	if m.BindOptions == nil {
		m.BindOptions = &mount.BindOptions{}
	}
	o := m.BindOptions
	switch key {
	case "bind-propagation":
		o.Propagation = mount.Propagation(strings.ToLower(value))
	case "bind-nonrecursive":
		o.NonRecursive, err = boolean(key, value)
	case "bind-create-src":
		o.CreateMountpoint, err = boolean(key, value)
	case "bind-recursive":
		switch value {
		case "enabled":
		case "disabled":
			o.NonRecursive = true
		case "writable":
			o.ReadOnlyNonRecursive = true
		case "readonly":
			o.ReadOnlyForceRecursive = true
		default:
			return fmt.Errorf("invalid value for %s: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", key, value)
		}
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return err
}

func volumeField(m *mount.Mount, key, value, field string) (err error) {
	if key == "image-subpath" {
		m.ImageOptions = &mount.ImageOptions{Subpath: value}
		return nil
	}
	if m.VolumeOptions == nil {
		m.VolumeOptions = &mount.VolumeOptions{}
	}
	o := m.VolumeOptions
	driver := func() *mount.Driver {
		if o.DriverConfig == nil {
			o.DriverConfig = &mount.Driver{}
		}
		return o.DriverConfig
	}
	switch key {
	case "volume-nocopy":
		o.NoCopy, err = boolean(key, value)
	case "volume-subpath":
		o.Subpath = value
	case "volume-label":
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		k, v, _ := strings.Cut(value, "=")
		o.Labels[k] = v
	case "volume-driver":
		driver().Name = value
	case "volume-opt":
		d := driver()
		if d.Options == nil {
			d.Options = map[string]string{}
		}
		k, v, _ := strings.Cut(value, "=")
		d.Options[k] = v
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return err
}

func tmpfsField(m *mount.Mount, key, value, field string) (err error) {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	switch key {
	case "tmpfs-size":
		if m.TmpfsOptions.SizeBytes, err = units.RAMInBytes(value); err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, value)
		}
	case "tmpfs-mode":
		mode, err := strconv.ParseUint(value, 8, 32)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, value)
		}
		m.TmpfsOptions.Mode = os.FileMode(mode)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

func checkMount(m *mount.Mount) error {
	if m.Type == "" {
		return errors.New("type is required")
	}
	if m.Target == "" {
		return errors.New("target is required")
	}
	for _, mix := range []struct {
		given bool
		kind  mount.Type
	}{
		{m.VolumeOptions != nil, mount.TypeVolume},
		{m.BindOptions != nil, mount.TypeBind},
		{m.ImageOptions != nil, mount.TypeImage},
		{m.TmpfsOptions != nil, mount.TypeTmpfs},
	} {
		if mix.given && m.Type != mix.kind {
			return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", mix.kind, m.Type)
		}
	}
	if b := m.BindOptions; b != nil && !m.ReadOnly && (b.ReadOnlyNonRecursive || b.ReadOnlyForceRecursive) {
		return errors.New("option 'bind-recursive=writable' or 'readonly' requires 'readonly' to be specified in conjunction")
	}
	return nil
}

func boolean(key, value string) (bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("invalid value for %s: %s", key, value)
	}
	return b, nil
}
