package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
)

// runc is the runtime alone, on an unpacked image: no engine, no network but a
// loopback, and the settings of `runc spec`.
type runc struct {
	*place
	bare
	spec    map[string]any
	bundles atomic.Int64
}

func (r *runc) name() string { return "runc" }

func (r *runc) ready() (string, error) {
	if _, err := exec.LookPath("runc"); err != nil {
		return "", absence("runc is not installed")
	}
	if _, err := r.rootfs(); err != nil {
		return "", err
	}
	dir := r.path("runc")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := r.do(r.command(nil, "runc", "spec", "--bundle", dir)); err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(b, &r.spec); err != nil {
		return "", err
	}
	version, err := r.output(r.command(nil, "runc", "--version"))
	return firstLine(version), err
}

// rootfs unpacks the image's file system once, for those that know no images.
func (p *place) rootfs() (string, error) {
	dir := p.path("rootfs")
	if exists(dir) {
		return dir, nil
	}
	tar, err := p.asset("busybox.tar")
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, p.do(p.command(nil, "tar", "-C", dir, "-xf", tar))
}

// bundle writes what is to run. Doing so is the caller's in reality too, and
// is not measured.
func (r *runc) bundle(id string, argv []string) (string, error) {
	dir := r.path("runc", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	process := copyOf(r.spec["process"])
	process["terminal"], process["args"] = false, argv
	linux := copyOf(r.spec["linux"])
	linux["cgroupsPath"] = "/" + cgroupName(r.dir) + "/" + id
	spec := copyOf(r.spec)
	spec["process"], spec["linux"] = process, linux
	spec["root"] = map[string]any{"path": r.path("rootfs"), "readonly": true}
	b, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
}

func copyOf(v any) map[string]any {
	c := map[string]any{}
	m, _ := v.(map[string]any)
	for k, v := range m {
		c[k] = v
	}
	return c
}

func (r *runc) runc(args ...string) *exec.Cmd {
	return r.command(nil, "runc", append([]string{"--root", r.path("runc", "state")}, args...)...)
}

func (r *runc) run(_ string, network bool, argv ...string) (*exec.Cmd, error) {
	if network {
		return nil, absence("it makes no network")
	}
	id := fmt.Sprintf("run-%d", r.bundles.Add(1))
	dir, err := r.bundle(id, argv)
	return r.runc("run", "--bundle", dir, id), err
}

func (r *runc) idle(name string) error {
	dir, err := r.bundle(name, []string{"sleep", "1000000"})
	if err != nil {
		return err
	}
	return r.do(r.runc("run", "--detach", "--bundle", dir, name))
}

func (r *runc) exec(name string, argv ...string) (*exec.Cmd, error) {
	return r.runc(append([]string{"exec", name}, argv...)...), nil
}

func (r *runc) remove(names []string) error {
	for _, name := range names {
		if err := r.do(r.runc("delete", "--force", name)); err != nil {
			return err
		}
	}
	return nil
}
