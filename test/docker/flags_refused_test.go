package docker

import (
	"os"
	"testing"
)

// runRefusals are the flags, and what they may be given, that are refused.
func runRefusals() []feature {
	later := func(what string) map[wall]string { return both(what + " is not supported by this version of abode") }
	instead := func(what, hint string) map[wall]string {
		return both(what + " is not supported by this version of abode: " + hint)
	}
	shares := func(flag string) map[wall]string {
		return map[wall]string{"vm": "cannot use " + flag + ` with isolation "vm": the container has a kernel of its own, and nothing to share with the host or with other containers; use --isolation container`}
	}
	windows := func(flag string) map[wall]string {
		return both(`"` + flag + `" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux`)
	}
	var all []feature
	for _, r := range []struct {
		name  string
		args  []string
		words map[wall]string
		works func(t *testing.T, w wall) // where it is not refused
	}{
		{"--cgroup-parent", []string{"--cgroup-parent", "there"}, later("--cgroup-parent"), nil},
		{"--cgroupns host", []string{"--cgroupns", "host"}, shares("--cgroupns host"), func(t *testing.T, w wall) {
			equal(t, "whose it is", w.run(t, "--rm", "--cgroupns", "host", "busybox", "readlink", "/proc/self/ns/cgroup"), ownNamespace(t, "cgroup"))
		}},
		{"--cpu-count", []string{"--cpu-count", "1"}, windows("--cpu-count"), nil},
		{"--cpu-percent", []string{"--cpu-percent", "5"}, windows("--cpu-percent"), nil},
		{"--cpu-rt-period", []string{"--cpu-rt-period", "1000"}, later("real-time scheduling (--cpu-rt-runtime)"), nil},
		{"--cpu-rt-runtime", []string{"--cpu-rt-runtime", "500"}, later("real-time scheduling (--cpu-rt-runtime)"), nil},
		{"--cpuset-cpus", []string{"--cpuset-cpus", "0"}, map[wall]string{"vm": numbered}, func(t *testing.T, w wall) {
			equal(t, "the processors", w.run(t, "--rm", "--cpuset-cpus", "0", "busybox", "awk", "/Cpus_allowed_list/ { print $2 }", "/proc/self/status"), "0")
		}},
		{"--cpuset-mems", []string{"--cpuset-mems", "0"}, map[wall]string{"vm": numbered}, func(t *testing.T, w wall) {
			equal(t, "the nodes", w.run(t, "--rm", "--cpuset-mems", "0", "busybox", "sh", "-c", library+"cg cpuset/cpuset.mems cpuset.mems"), "0")
		}},
		{"--device", []string{"--device", "/dev/zero:/dev/nothing"},
			map[wall]string{"vm": `cannot use --device with isolation "vm": the host's devices are not the container's kernel's; use --isolation container`},
			func(t *testing.T, w wall) {
				equal(t, "what is read", w.run(t, "--rm", "--device", "/dev/zero:/dev/nothing", "busybox", "sh", "-c", "head -c 3 /dev/nothing | wc -c"), "3")
			}},
		{"--gpus", []string{"--gpus", "all"}, instead("a device request such as --gpus", "name the device files with --device"), nil},
		{"--io-maxbandwidth", []string{"--io-maxbandwidth", "1m"}, windows("--io-maxbandwidth"), nil},
		{"--io-maxiops", []string{"--io-maxiops", "5"}, windows("--io-maxiops"), nil},
		{"--ipc host", []string{"--ipc", "host"}, shares("--ipc host"), func(t *testing.T, w wall) {
			equal(t, "whose it is", w.run(t, "--rm", "--ipc", "host", "busybox", "readlink", "/proc/self/ns/ipc"), ownNamespace(t, "ipc"))
		}},
		{"--ipc container:NAME", []string{"--ipc", "container:other"}, shares("--ipc container:NAME"), joins("--ipc", "ipc")},
		{"--link-local-ip", []string{"--link-local-ip", "169.254.3.3"}, later("a link-local address"), nil},
		{"--log-driver DRIVER", []string{"--log-driver", "syslog"}, both("logger: no log driver named 'syslog' is registered"), nil},
		{"--mount type=image", []string{"--mount", "type=image,src=busybox,dst=/image"}, both(`mount type unknown: "image"`), nil},
		{"--mount type=cluster", []string{"--mount", "type=cluster,src=some,dst=/cluster"}, both(`mount type unknown: "cluster"`), nil},
		{"--mount bind-recursive=disabled", []string{"--mount", "type=bind,src=/tmp,dst=/there,bind-recursive=disabled"}, later("a bind that is not recursive"), nil},
		{"--mount volume-subpath", []string{"--mount", "type=volume,src=some,dst=/there,volume-subpath=below"}, later("a subpath of a volume"), nil},
		{"--network host", []string{"--network", "host"}, shares("--network host"), func(t *testing.T, w wall) {
			equal(t, "whose it is", w.run(t, "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"), ownNamespace(t, "net"))
		}},
		{"--network container:NAME", []string{"--network", "container:other"}, shares("--network container:NAME"), joins("--network", "net")},
		{"--pid host", []string{"--pid", "host"}, shares("--pid host"), func(t *testing.T, w wall) {
			equal(t, "whose it is", w.run(t, "--rm", "--pid", "host", "busybox", "readlink", "/proc/self/ns/pid"), ownNamespace(t, "pid"))
		}},
		{"--pid container:NAME", []string{"--pid", "container:other"}, shares("--pid container:NAME"), joins("--pid", "pid")},
		{"--publish PORT/sctp", []string{"--publish", "99/sctp"}, later("publishing a port of protocol sctp"), nil},
		{"--runtime", []string{"--runtime", "runc"}, instead("runtime runc", "choose with --isolation"), nil},
		{"--security-opt apparmor=PROFILE", []string{"--security-opt", "apparmor=mine"}, later("AppArmor profile mine"), nil},
		{"--security-opt label=LABEL", []string{"--security-opt", "label=type:mine"}, later("SELinux label type:mine"), nil},
		{"--storage-opt", []string{"--storage-opt", "size=1G"}, later("--storage-opt"), nil},
		{"--umask", []string{"--umask", "077"}, later("an initial umask"), nil},
		{"--use-api-socket", []string{"--use-api-socket"}, both(`invalid mount config for type "bind": bind source path does not exist: /var/run/docker.sock`), nil},
		{"--uts host", []string{"--uts", "host"}, shares("--uts host"), func(t *testing.T, w wall) {
			equal(t, "whose it is", w.run(t, "--rm", "--uts", "host", "busybox", "readlink", "/proc/self/ns/uts"), ownNamespace(t, "uts"))
		}},
		{"--volume PATH:PATH:shared", []string{"--volume", shared + ":/there:shared"},
			map[wall]string{"vm": `cannot use bind propagation shared with isolation "vm": mounts do not pass from one kernel to another`},
			func(t *testing.T, w wall) {
				equal(t, "the file", w.run(t, "--rm", "--volume", shared+":/there:shared", "busybox", "cat", "/there/file"), "from the host")
			}},
		{"--volume-driver", []string{"--volume-driver", "nfs"}, instead("volume driver nfs", "mount what you need on the host and give the container its path"), nil},
	} {
		all = append(all, feature{name: r.name, refused: r.words, prove: func(t *testing.T, w wall) {
			if r.name == "--use-api-socket" && exists("/var/run/docker.sock") {
				t.Skip("a docker daemon runs on this machine")
			}
			if words := r.words[w]; words != "" {
				w.refuses(t, words, r.args...)
				return
			}
			r.works(t, w)
		}})
	}
	return all
}

const numbered = `cannot use --cpuset-cpus or --cpuset-mems with isolation "vm": they number the host's processors, which a guest does not see; use --cpus`

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// joins proves that a flag puts a container into another's namespace.
func joins(flag, kind string) func(*testing.T, wall) {
	return func(t *testing.T, w wall) {
		other := w.name(t)
		w.run(t, "--detach", "--name", other, "--ipc", "shareable", "busybox", "sleep", "1000")
		file := "/proc/self/ns/" + kind
		equal(t, "whose it is", w.run(t, "--rm", flag, "container:"+other, "busybox", "readlink", file), cli(t, "exec", other, "readlink", file))
	}
}
