package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// An engine is Abode with paths and a bridge of its own, for both walls.
type engine struct {
	*place
	folder string // names its paths and tells its bridge from another's
	flags  []string
	daemon *daemon
	once   sync.Once
	failed error
}

func (e *engine) host() string { return passing(e.folder, "abode.sock") }

// start starts the daemon, once, and gives it the kernel and the images.
func (e *engine) start() error {
	e.once.Do(func() { e.failed = e.tryStart() })
	return e.failed
}

func (e *engine) tryStart() error {
	if err := errors.Join(os.MkdirAll(e.path(e.folder), 0o711), os.MkdirAll(passing(e.folder), 0o711)); err != nil {
		return err
	}
	cmd := e.command(nil, filepath.Join(e.bin, "aboded"), append([]string{"--root", e.path(e.folder, "root"), "--run", passing(e.folder),
		"--bridge", bridgeName(e.dir) + e.folder[:1], "--host", "unix://" + e.host()}, e.flags...)...)
	var err error
	if e.daemon, err = e.startDaemon(cmd, e.path(e.folder, "aboded.log"), func() error {
		conn, err := net.Dial("unix", e.host())
		if err == nil {
			conn.Close()
		}
		return err
	}); err != nil {
		return err
	}
	kernel, err := e.asset("kernel/linux-image-*")
	if err != nil {
		return err
	}
	if err := e.do(e.abode("kernel", "import", kernel)); err != nil {
		return err
	}
	rootfs, err := e.asset("busybox.tar")
	if err != nil {
		return err
	}
	return e.load(testImage, rootfs)
}

// stop ends the daemon, and its agent, which outlives it.
func (e *engine) stop() {
	e.daemon.stop()
	for _, p := range processes() {
		if p.is("abode-agent") && slices.Contains(p.args, passing(e.folder)) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
}

// abode is a call of the CLI.
func (e *engine) abode(args ...string) *exec.Cmd {
	return e.command([]string{"ABODE_HOST=unix://" + e.host()}, filepath.Join(e.bin, "abode"), args...)
}

func (e *engine) load(image, tar string) error {
	return e.do(e.abode("import", "--change", `CMD ["/bin/sh"]`, tar, image))
}

// A wall is a contestant: the engine with one of its isolations.
type wall struct {
	*engine
	isolation string
}

func (w *wall) name() string { return w.isolation }

func (w *wall) ready() (string, error) {
	if err := w.start(); err != nil {
		return "", err
	}
	version, err := w.output(w.abode("version", "--format", "{{.Server.Version}}"))
	if err != nil {
		return "", err
	}
	if w.isolation == "vm" {
		info, err := w.output(w.abode("info"))
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(info) {
			if _, what, found := strings.Cut(line, "Description: QEMU"); found {
				version += ", QEMU" + strings.TrimSuffix(what, "\n")
			}
		}
	}
	return version, nil
}

func (w *wall) run(image string, network bool, argv ...string) (*exec.Cmd, error) {
	args := []string{"run", "--rm", "--isolation", w.isolation}
	if !network {
		args = append(args, "--network", "none")
	}
	return w.abode(append(append(args, image), argv...)...), nil
}

func (w *wall) idle(name string) error {
	return w.do(w.abode("run", "-d", "--isolation", w.isolation, "--name", name, testImage, "sleep", "1000000"))
}

func (w *wall) exec(name string, argv ...string) (*exec.Cmd, error) {
	return w.abode(append([]string{"exec", name}, argv...)...), nil
}

func (w *wall) remove(names []string) error {
	return w.do(w.abode(append([]string{"rm", "-f", "-v"}, names...)...))
}

func (w *wall) list() (*exec.Cmd, error) { return w.abode("ps"), nil }

func (w *wall) pull(ref string) (*exec.Cmd, error) { return w.abode("pull", "-q", ref), nil }

func (w *wall) forget(ref string) error { return w.do(w.abode("rmi", "-f", ref)) }

func (w *wall) ours(p process) bool {
	return p.is("aboded", "abode-agent") || w.isolation == "vm" && isHypervisor(p) && !ofCold(p)
}

func (w *wall) resident(p process) bool { return p.is("aboded", "abode-agent") }

// guest returns the arguments of a hypervisor of the engine, for a cold boot of
// the same machine.
func (e *engine) guest() []string {
	for _, p := range processes() {
		if isHypervisor(p) && !ofCold(p) {
			return p.args
		}
	}
	return nil
}

// kernelImage is the guest kernel's, in the engine's store.
func (e *engine) kernelImage() (string, error) {
	found, _ := filepath.Glob(e.path(e.folder, "root", "kernels", "*", "vmlinuz*"))
	if len(found) == 0 {
		return "", errors.New("cannot find the kernel that the engine has imported")
	}
	return found[0], nil
}

func isHypervisor(p process) bool { return strings.HasPrefix(p.program, "qemu-system-") }
