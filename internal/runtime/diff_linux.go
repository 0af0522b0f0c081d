package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// madeFile, beside upper and work, lists the mount points that were made in
// the writable layer: they are the agent's work, not the workload's.
const madeFile = "mountpoints.json"

// rememberMade adds mount points to those of earlier starts.
func (c *container) rememberMade(made []string, log *slog.Logger) error {
	file := filepath.Join(c.fs.upper, madeFile)
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &c.made)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		// No reason not to start.
		log.Warn("the list of earlier mount points is lost: a diff shows them", "container", c.id, "error", err)
	}
	if len(made) == 0 {
		return nil
	}
	for _, p := range made {
		if !slices.Contains(c.made, p) {
			c.made = append(c.made, p)
		}
	}
	if b, err = json.Marshal(c.made); err != nil {
		return err
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("cannot keep the list of mount points: %w", err)
	}
	return nil
}

// differ compares the writable layer with the layers below.
type differ struct {
	made    map[string]bool
	changes []agent.Change
	opaque  map[string]bool // directories that hide what the image has in them
}

// Diff lists what the writable layer changes.
func (r *Runtime) Diff(id string) (agent.DiffResponse, error) {
	d, upper, err := r.differ(id)
	if err != nil {
		return agent.DiffResponse{}, err
	}
	unix.Close(upper)
	return agent.DiffResponse{Changes: d.changes}, nil
}

// differ compares a container's writable layer, which it opens, with the image.
func (r *Runtime) differ(id string) (_ *differ, upper int, err error) {
	c, err := r.get(id)
	if err != nil {
		return nil, -1, err
	}
	c.op.Lock()
	defer c.op.Unlock()
	if c.gone || c.fs == nil {
		return nil, -1, errorf(agent.ClassNoContainer, "%w: %s", errNoContainer, id)
	}
	upper, err = unix.Open(filepath.Join(c.fs.upper, "upper"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("cannot open the writable layer: %w", err)
	}
	fd := upper
	var cu cleanup.Stack
	defer cu.Clean()
	cu.Add(func() { unix.Close(fd) })
	lower, err := c.lowerView()
	if err != nil {
		return nil, -1, err
	}
	defer unix.Close(lower)
	d := &differ{made: map[string]bool{}, changes: []agent.Change{}, opaque: map[string]bool{}}
	for _, p := range c.made {
		d.made[p] = true
	}
	if _, _, err := d.dir(upper, lower, "/", 0); err != nil {
		return nil, -1, fmt.Errorf("cannot compare with the image: %w", err)
	}
	slices.SortFunc(d.changes, func(a, b agent.Change) int { return strings.Compare(a.Path, b.Path) })
	cu.Release()
	return d, upper, nil
}

// lowerView opens what the image looks like without the writable layer.
func (c *container) lowerView() (int, error) {
	if len(c.fs.layers) == 1 {
		return unix.Open(c.fs.layers[0].dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	dir := filepath.Join(c.dir, "lower")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return -1, fmt.Errorf("cannot make a mount point: %w", err)
	}
	defer func() { _ = removeDir(dir) }() // the next Mkdir tells
	return overlay(dir, &rootfs{layers: c.fs.layers}, -1, 0, 0)
}

// dir compares a directory; lower is -1 when the image has none there. It
// tells how many changes it has reported and how many it has kept silent about.
func (d *differ) dir(upper, lower int, p string, depth int) (told, silent int, err error) {
	if depth > maxDepth {
		return 0, 0, fmt.Errorf("%s is nested too deep", p)
	}
	names, err := readNames(upper)
	if err != nil {
		return 0, 0, err
	}
	before := len(d.changes)
	for _, name := range names {
		quiet, err := d.entry(upper, lower, name, path.Join(p, name), depth)
		if err != nil {
			return 0, 0, err
		}
		if quiet {
			silent++
		}
	}
	value := make([]byte, 8)
	if n, err := unix.Fgetxattr(upper, "trusted.overlay.opaque", value); lower >= 0 && err == nil && string(value[:n]) == "y" {
		d.opaque[p] = true
		below, err := readNames(lower)
		if err != nil {
			return 0, 0, err
		}
		for _, name := range below {
			if !slices.Contains(names, name) {
				d.add(path.Join(p, name), agent.ChangeDeleted)
			}
		}
	}
	return len(d.changes) - before, silent, nil
}

// entry compares one name; quiet means that all of it is the agent's own work.
func (d *differ) entry(upper, lower int, name, p string, depth int) (quiet bool, err error) {
	var up, low unix.Stat_t
	if err := unix.Fstatat(upper, name, &up, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT { // gone meanwhile
			return false, nil
		}
		return false, err
	}
	known := false
	if lower >= 0 {
		err := unix.Fstatat(lower, name, &low, unix.AT_SYMLINK_NOFOLLOW)
		known = err == nil
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return false, err
		}
	}
	kind := up.Mode & unix.S_IFMT
	if kind == unix.S_IFCHR && up.Rdev == 0 { // a whiteout
		if known {
			d.add(p, agent.ChangeDeleted)
		}
		return false, nil
	}
	if kind != unix.S_IFDIR {
		if d.made[p] && kind == unix.S_IFREG && up.Size == 0 {
			return true, nil
		}
		d.changed(p, known)
		return false, nil
	}
	u, err := unix.Openat(upper, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(u)
	l := -1
	if known && low.Mode&unix.S_IFMT == unix.S_IFDIR {
		if l, err = unix.Openat(lower, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			return false, err
		}
		defer unix.Close(l)
	}
	told, silent, err := d.dir(u, l, p, depth+1)
	if err != nil {
		return false, err
	}
	if told == 0 {
		// Made for a mount, or copied up to make one inside.
		same := l >= 0 && up.Mode == low.Mode && up.Uid == low.Uid && up.Gid == low.Gid
		if d.made[p] || silent > 0 && same {
			return true, nil
		}
	}
	d.changed(p, known)
	return false, nil
}

func (d *differ) changed(p string, known bool) {
	if known {
		d.add(p, agent.ChangeModified)
	} else {
		d.add(p, agent.ChangeAdded)
	}
}

func (d *differ) add(p string, kind int) {
	d.changes = append(d.changes, agent.Change{Path: p, Kind: kind})
}
