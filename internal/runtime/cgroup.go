package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hierarchies are where this kernel's cgroup controllers are mounted: a
// hierarchy each (cgroup v1, also beside a v2 mount without controllers) or all
// in one (v2). See the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
type hierarchies struct {
	v2       string            // mount point of the unified hierarchy; empty: v1
	v1       map[string]string // controller → mount point
	views    []cgroupView
	warnings []string
}

// wanted are the v1 controllers that a container is put under.
var wanted = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}

func findHierarchies() (*hierarchies, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot find the cgroups: %w", err)
	}
	h := &hierarchies{v1: map[string]string{}}
	unified := ""
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 || l[3] != "/" {
			continue
		}
		switch dir := l[4]; r[0] {
		case "cgroup2":
			unified = dir
		case "cgroup":
			var here []string
			for o := range strings.SplitSeq(r[2], ",") {
				if slices.Contains(wanted, o) && h.v1[o] == "" {
					h.v1[o] = dir
					here = append(here, o)
				}
			}
			if len(here) > 0 {
				h.views = append(h.views, cgroupView{Name: strings.Join(here, ","), Options: here})
			}
		}
	}
	if len(h.v1) > 0 {
		for _, name := range wanted {
			if h.v1[name] == "" {
				h.warnings = append(h.warnings, "the cgroup controller "+name+" is not mounted: what it would limit is not limited")
			}
		}
		return h, nil
	}
	if unified == "" {
		return nil, errors.New("cannot find the cgroups: mount cgroup2 on /sys/fs/cgroup")
	}
	h.v2, h.views = unified, []cgroupView{{V2: true}}
	if err := clearRoot(unified); err != nil {
		h.warnings = append(h.warnings, "limits may not work: "+err.Error())
	}
	have, _ := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
	for _, name := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(strings.Fields(string(have)), name) {
			h.warnings = append(h.warnings, "the cgroup controller "+name+" is not available: what it would limit is not limited")
		}
	}
	return h, nil
}

// clearRoot moves the processes of a v2 hierarchy's root into a child, if that
// root is a container's own (the engine runs inside one): a cgroup with
// processes gives its children no controllers. The kernel's real root is
// exempt, and has no cgroup.type (cgroup-v2.rst, "No Internal Process Constraint").
func clearRoot(root string) error {
	if _, err := os.Stat(filepath.Join(root, "cgroup.type")); err != nil {
		return nil
	}
	child := filepath.Join(root, "init")
	for range 100 { // until nothing was forked meanwhile
		b, err := os.ReadFile(filepath.Join(root, "cgroup.procs"))
		if err != nil || len(b) == 0 {
			return err
		}
		if err := os.Mkdir(child, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot clear the root cgroup: %w", err)
		}
		for pid := range strings.FieldsSeq(string(b)) {
			err := os.WriteFile(filepath.Join(child, "cgroup.procs"), []byte(pid), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("cannot clear the root cgroup: %w", err)
			}
		}
	}
	return errors.New("cannot clear the root cgroup: it fills as fast as it is emptied")
}

func (h *hierarchies) version() int {
	if h.v2 != "" {
		return 2
	}
	return 1
}

// cgroup is a container's own in every hierarchy.
type cgroup struct {
	h    *hierarchies
	dirs map[string]string // controller → directory; "" for v2
	all  []string          // each directory once
}

// create makes the cgroup named by path, relative to each hierarchy's root. A
// leftover of that name is emptied first.
func (h *hierarchies) create(path string) (c *cgroup, err error) {
	c = &cgroup{h: h, dirs: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove(context.Background()))
		}
	}()
	add := func(controller, root string) error {
		dir := filepath.Join(root, path)
		c.dirs[controller] = dir
		if slices.Contains(c.all, dir) {
			return nil
		}
		c.all = append(c.all, dir)
		at := root
		parts := strings.Split(path, "/")
		for i, part := range parts {
			if h.v2 != "" {
				delegate(at)
			}
			at = filepath.Join(at, part)
			err := os.Mkdir(at, 0o755)
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("cannot make the cgroup %s: %w", at, err)
			}
			if errors.Is(err, fs.ErrExist) && i == len(parts)-1 {
				return fmt.Errorf("cannot make the cgroup %s: %w", at, err)
			}
			if controller == "cpuset" {
				if err := inheritCpuset(at); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if h.v2 != "" {
		return c, add("", h.v2)
	}
	for _, name := range wanted {
		if root := h.v1[name]; root != "" {
			if err := add(name, root); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// delegate enables all controllers of a v2 cgroup for those below. Without one
// its limits are refused when they are set.
func delegate(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	on, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	enabled := strings.Fields(string(on))
	for name := range strings.FieldsSeq(string(b)) {
		if !slices.Contains(enabled, name) {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
		}
	}
}

// inheritCpuset fills what a v1 cpuset needs before it takes processes.
func inheritCpuset(dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err == nil && strings.TrimSpace(string(b)) == "" {
			if b, err = os.ReadFile(filepath.Join(filepath.Dir(dir), f)); err == nil {
				if err := os.WriteFile(filepath.Join(dir, f), b, 0); err != nil {
					return fmt.Errorf("cannot fill the cpuset of a cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

// entrance opens what a new process needs to begin in the cgroup: v2's
// directory, or the files of v1 that it writes to.
func (c *cgroup) entrance() (files []*os.File, err error) {
	for _, dir := range c.all {
		name, flags := filepath.Join(dir, "tasks"), os.O_WRONLY
		if c.h.v2 != "" {
			name, flags = dir, unix.O_PATH
		}
		f, err := os.OpenFile(name, flags, 0)
		if err != nil {
			return files, fmt.Errorf("cannot open the cgroup: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// beside is the cgroup for another process of the workload that began with
// pid: this one, unless the workload has made cgroups of its own (an engine in
// a container), as v2 then takes no more processes here; then pid's.
func (c *cgroup) beside(pid int) *cgroup {
	if c.h.v2 == "" {
		return c
	}
	if on, err := os.ReadFile(filepath.Join(c.dirs[""], "cgroup.subtree_control")); err != nil || len(bytes.TrimSpace(on)) == 0 {
		return c
	}
	b, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return c
	}
	// "0::/path", as seen from the root. A path that leads elsewhere is a
	// workload's that was moved out of its cgroup.
	path, _ := strings.CutPrefix(strings.TrimSpace(string(b)), "0::")
	dir := filepath.Join(c.h.v2, path)
	if !strings.HasPrefix(dir, c.dirs[""]+"/") {
		return c
	}
	return &cgroup{h: c.h, all: []string{dir}}
}

// apply sets limits; nil and absent ones stay.
func (c *cgroup) apply(res *specs.LinuxResources) error {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	if c.h.v2 != "" {
		return c.applyV2(res)
	}
	return c.applyV1(res)
}

// procs lists the processes of the cgroup and those below it.
func (c *cgroup) procs() ([]int, error) {
	var pids []int
	if len(c.all) == 0 {
		return nil, nil
	}
	root := c.all[0]
	if d := c.dirs["freezer"]; d != "" {
		root = d
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return skipGone(err)
		}
		b, err := os.ReadFile(filepath.Join(p, "cgroup.procs"))
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return skipGone(err)
	})
	return pids, err
}

func skipGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (c *cgroup) signal(sig unix.Signal) error {
	pids, err := c.procs()
	if err != nil {
		return fmt.Errorf("cannot list the container's processes: %w", err)
	}
	for _, pid := range pids {
		unix.Kill(pid, sig)
	}
	return nil
}

// killAll kills until nobody is left.
func (c *cgroup) killAll(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		pids, err := c.procs()
		if err != nil {
			return fmt.Errorf("cannot list the container's processes: %w", err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes are left: %w", len(pids), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// remove removes the cgroup's directories, once its last process is gone.
func (c *cgroup) remove(ctx context.Context) error {
	for _, dir := range c.all {
		if err := RemoveCgroup(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// RemoveCgroup removes a cgroup's directory and those below it. What has ended
// takes the kernel a moment to let go of.
func RemoveCgroup(ctx context.Context, dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if entries, rerr := os.ReadDir(dir); rerr == nil {
			for _, e := range entries {
				if e.IsDir() {
					if rerr := RemoveCgroup(ctx, filepath.Join(dir, e.Name())); rerr != nil {
						return rerr
					}
				}
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot remove the cgroup %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot remove the cgroup %s: %w", dir, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// write sets one parameter of a controller.
func (c *cgroup) write(controller, file, value string) error {
	dir, ok := c.dirs[controller]
	if !ok {
		return nil // warned about once, at the agent's start
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // this kernel lacks it
		}
		return errorf("invalid", "cannot set %s to %s: %w", file, value, unwrapPath(err))
	}
	return nil
}

func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// read returns one parameter.
func (c *cgroup) read(controller, file string) string {
	dir, ok := c.dirs[controller]
	if !ok {
		return ""
	}
	b, _ := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(b))
}

// field returns the number after a key in a file of "key value" lines.
func (c *cgroup) field(controller, file, key string) uint64 {
	for line := range strings.Lines(c.read(controller, file)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == key {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func (c *cgroup) number(controller, file string) uint64 {
	n, _ := strconv.ParseUint(c.read(controller, file), 10, 64) // "max" is 0
	return n
}

// CleanCgroups kills all processes in the cgroups below parent, in every
// hierarchy, and removes them and it.
func CleanCgroups(ctx context.Context, parent string) error {
	if !filepath.IsLocal(parent) || parent == "." {
		return fmt.Errorf("%q is no name of a cgroup", parent)
	}
	h, err := findHierarchies()
	if err != nil {
		return err
	}
	roots := []string{h.v2}
	for _, root := range h.v1 {
		roots = append(roots, root)
	}
	var errs []error
	for _, root := range roots {
		if root == "" {
			continue
		}
		dir := filepath.Join(root, parent)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		c := &cgroup{h: h, dirs: map[string]string{}, all: []string{dir}}
		// What is frozen does not die; what stays so, killAll tells.
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				writeExisting(filepath.Join(p, "freezer.state"), "THAWED")
				writeExisting(filepath.Join(p, "cgroup.freeze"), "0")
			}
			return skipGone(err)
		})
		if err := c.killAll(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, RemoveCgroup(ctx, dir))
	}
	return errors.Join(errs...)
}

func writeExisting(path, value string) {
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(value)
		f.Close()
	}
}
