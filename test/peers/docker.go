package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// docker is Debian's docker.io with a daemon of its own: its own containerd,
// overlay2, its bridge and its iptables rules, as a package's default has them.
type docker struct {
	*place
	daemon *daemon
}

func (d *docker) name() string { return "docker" }

func (d *docker) ready() (string, error) {
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		return "", absence("dockerd is not installed")
	}
	dir := d.path("docker")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	// The key's path is told so that none appears in /etc/docker.
	config := d.path("docker", "daemon.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"deprecated-key-path": %q}`, d.path("docker", "key.json")), 0o600); err != nil {
		return "", err
	}
	cmd := d.command(nil, dockerd, "--config-file", config, "--host", "unix://"+d.socket(), "--pidfile", d.path("docker", "pid"),
		"--data-root", d.path("docker", "data"), "--exec-root", passing("docker"), "--cgroup-parent", "/"+cgroupName(d.dir),
		"--storage-driver", "overlay2", "--log-level", "error")
	if d.daemon, err = d.startDaemon(cmd, d.path("dockerd.log"), func() error { return d.do(d.docker("version")) }); err != nil {
		return "", err
	}
	rootfs, err := d.asset("busybox.tar")
	if err != nil {
		return "", err
	}
	if err := d.load(testImage, rootfs); err != nil {
		return "", err
	}
	version, err := d.output(d.docker("version", "--format", "{{.Server.Version}}"))
	if err != nil {
		return "", err
	}
	settings, err := d.output(d.docker("info", "--format", "{{.Driver}}, containerd {{.ContainerdCommit.ID}}, runc {{.RuncCommit.ID}}, cgroup v{{.CgroupVersion}} by {{.CgroupDriver}}"))
	return version + ", " + settings, err
}

func (d *docker) socket() string { return d.path("docker", "docker.sock") }

// docker is a call of the docker command: of Debian's, if another is first on
// the path, as the daemon is Debian's too.
func (d *docker) docker(args ...string) *exec.Cmd {
	program := "/usr/bin/docker"
	if !exists(program) {
		program = "docker"
	}
	return d.command([]string{"DOCKER_HOST=unix://" + d.socket(), "DOCKER_CONFIG=" + d.path("docker", "client")}, program, args...)
}

func (d *docker) load(image, tar string) error {
	return d.do(d.docker("import", "--change", `CMD ["/bin/sh"]`, tar, image))
}

func (d *docker) run(image string, network bool, argv ...string) (*exec.Cmd, error) {
	args := []string{"run", "--rm"}
	if !network {
		args = append(args, "--network", "none")
	}
	return d.docker(append(append(args, image), argv...)...), nil
}

func (d *docker) idle(name string) error {
	return d.do(d.docker("run", "-d", "--name", name, testImage, "sleep", "1000000"))
}

func (d *docker) exec(name string, argv ...string) (*exec.Cmd, error) {
	return d.docker(append([]string{"exec", name}, argv...)...), nil
}

func (d *docker) remove(names []string) error {
	return d.do(d.docker(append([]string{"rm", "-f", "-v"}, names...)...))
}

func (d *docker) list() (*exec.Cmd, error) { return d.docker("ps"), nil }

func (d *docker) pull(ref string) (*exec.Cmd, error) { return d.docker("pull", "-q", ref), nil }

// forget also waits a moment: the daemon deletes what it has put aside.
func (d *docker) forget(ref string) error {
	err := d.do(d.docker("rmi", "-f", ref))
	time.Sleep(500 * time.Millisecond)
	return err
}

func (d *docker) ours(p process) bool {
	return p.is("dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "docker-proxy", "docker-init")
}

func (d *docker) resident(p process) bool { return p.is("dockerd", "containerd") }
