package main

import (
	"os"
	"os/exec"
)

// podman is Debian's podman with stores of its own. It has no daemon; conmon
// stays with each container.
type podman struct {
	*place
	bare
	runtime string
}

func (d *podman) name() string { return "podman" }

func (d *podman) ready() (string, error) {
	if _, err := exec.LookPath("podman"); err != nil {
		return "", absence("podman is not installed")
	}
	d.runtime = "crun"
	if err := os.MkdirAll(d.path("podman", "networks"), 0o700); err != nil {
		return "", err
	}
	rootfs, err := d.asset("busybox.tar")
	if err != nil {
		return "", err
	}
	if err := d.load(testImage, rootfs); err != nil {
		return "", err
	}
	// Its own choice, crun, refuses machines with cgroups of both versions.
	for _, d.runtime = range []string{"crun", "runc"} {
		var cmd *exec.Cmd
		if cmd, err = d.run(testImage, false, "true"); err == nil {
			if err = d.do(cmd); err == nil {
				break
			}
		}
	}
	if err != nil {
		return "", err
	}
	version, err := d.output(d.podman("version", "--format", "{{.Client.Version}}"))
	if err != nil {
		return "", err
	}
	settings, err := d.output(d.podman("info", "--format", "{{.Store.GraphDriverName}}, {{.Host.OCIRuntime.Name}}, {{.Host.NetworkBackend}}"))
	return version + ", " + settings, err
}

// podman is a call. The events go nowhere: the default, the journal, is not
// there in the sandbox.
func (d *podman) podman(args ...string) *exec.Cmd {
	return d.command([]string{"XDG_RUNTIME_DIR=", "TMPDIR=" + d.dir}, "podman", append([]string{
		"--root", d.path("podman", "root"), "--runroot", passing("podman"), "--tmpdir", d.path("podman", "tmp"),
		"--network-config-dir", d.path("podman", "networks"), "--storage-driver", "overlay",
		"--cgroup-manager", "cgroupfs", "--events-backend", "none", "--log-level", "error", "--runtime", d.runtime}, args...)...)
}

func (d *podman) load(image, tar string) error {
	return d.do(d.podman("import", "--change", `CMD ["/bin/sh"]`, tar, image))
}

// start are a container's first arguments. Its output goes to a file, as with
// docker, not to the journal; it gets the limits that are there, as raising
// them, podman's default, may be forbidden.
func (d *podman) start(args ...string) []string {
	return append([]string{"run", "--cgroup-parent", "/" + cgroupName(d.dir), "--log-driver", "k8s-file", "--ulimit", "host"}, args...)
}

func (d *podman) run(image string, network bool, argv ...string) (*exec.Cmd, error) {
	args := d.start("--rm")
	if !network {
		args = append(args, "--network", "none")
	}
	return d.podman(append(append(args, image), argv...)...), nil
}

func (d *podman) idle(name string) error {
	return d.do(d.podman(d.start("-d", "--name", name, testImage, "sleep", "1000000")...))
}

func (d *podman) exec(name string, argv ...string) (*exec.Cmd, error) {
	return d.podman(append([]string{"exec", name}, argv...)...), nil
}

func (d *podman) remove(names []string) error {
	return d.do(d.podman(append([]string{"rm", "-f", "-v", "-t", "0"}, names...)...))
}

func (d *podman) list() (*exec.Cmd, error) { return d.podman("ps"), nil }

func (d *podman) pull(ref string) (*exec.Cmd, error) {
	return d.podman("pull", "-q", "--tls-verify=false", ref), nil
}

func (d *podman) forget(ref string) error { return d.do(d.podman("rmi", "-f", ref)) }

func (d *podman) ours(p process) bool { return p.is("podman", "conmon", "aardvark-dns", "netavark") }
