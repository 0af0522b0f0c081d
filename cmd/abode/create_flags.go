package main

import (
	"github.com/spf13/pflag"

	"github.com/abode-run/abode/internal/cli/flags"
)

// createFlags are the flags that `run` and `create` share.
type createFlags struct {
	// the container
	name, entrypoint, user, workdir, hostname, domainname string
	tty, interactive, autoRemove                          bool
	attach, env, envFiles, labels, labelFiles             []string
	annotations, addHosts                                 []string
	cidFile, stopSignal, restart                          string
	stopTimeout                                           int
	init, readOnly, privileged                            bool
	// its isolation and namespaces
	isolation, userns, pid, ipc, uts, cgroupns string
	noTemplate                                 bool
	// its resources
	memory, memorySwap, memoryReservation, shmSize flags.Bytes
	cpus                                           flags.CPUs
	cpuShares, pidsLimit                           int64
	cpuset                                         string
	blkioWeight                                    uint16
	blkioWeightDevices, deviceRules                []string
	readBps, writeBps, readIOps, writeIOps         []string
	swappiness                                     int64
	oomKillDisable                                 bool
	oomScoreAdj                                    int
	ulimits, devices                               []string
	// its rights
	capAdd, capDrop, securityOpts, sysctls, groupAdd []string
	// its files
	volumes, mounts, tmpfs []string
	// its network
	publish, expose, dns, dnsSearch, dnsOptions []string
	publishAll                                  bool
	networks, aliases, links                    []string
	mac, ip, ip6                                string
	// its output
	logDriver string
	logOpts   []string
	// its image
	platform, pull string
	quiet          bool
	// its health
	noHealth                                                     bool
	healthCmd                                                    string
	healthInterval, healthTimeout, healthStart, healthStartEvery durationFlag
	healthRetries                                                int
}

func (c *createFlags) register(f *pflag.FlagSet) {
	f.SetInterspersed(false)
	f.StringVar(&c.name, "name", "", "name of the container")
	f.StringVar(&c.entrypoint, "entrypoint", "", "program to run in place of the image's entrypoint")
	f.StringVarP(&c.user, "user", "u", "", "user to run as (NAME|UID[:GROUP|GID])")
	f.StringVarP(&c.workdir, "workdir", "w", "", "working directory in the container")
	f.StringVarP(&c.hostname, "hostname", "h", "", "host name of the container")
	f.StringVar(&c.domainname, "domainname", "", "domain name of the container")
	f.BoolVarP(&c.tty, "tty", "t", false, "allocate a terminal")
	f.BoolVarP(&c.interactive, "interactive", "i", false, "keep stdin open")
	f.BoolVar(&c.autoRemove, "rm", false, "remove the container and its anonymous volumes when it ends")
	f.StringArrayVarP(&c.attach, "attach", "a", nil, "attach to stdin, stdout or stderr")
	f.StringArrayVarP(&c.env, "env", "e", nil, "set an environment variable (NAME=VALUE, or NAME for the caller's)")
	f.StringArrayVar(&c.envFiles, "env-file", nil, "read environment variables from a file")
	f.StringArrayVarP(&c.labels, "label", "l", nil, "set a label (KEY=VALUE)")
	f.StringArrayVar(&c.labelFiles, "label-file", nil, "read labels from a file")
	f.StringArrayVar(&c.annotations, "annotation", nil, "set an annotation that the runtime sees (KEY=VALUE)")
	f.StringArrayVar(&c.addHosts, "add-host", nil, "add a host to /etc/hosts (NAME:IP)")
	f.StringVar(&c.cidFile, "cidfile", "", "write the container's ID to a file")
	f.StringVar(&c.stopSignal, "stop-signal", "", "signal that stops the container")
	f.IntVar(&c.stopTimeout, "stop-timeout", 0, "seconds until a stopped container is killed")
	f.StringVar(&c.restart, "restart", "no", "when to restart it (no, always, unless-stopped, on-failure[:TIMES])")
	f.BoolVar(&c.init, "init", false, "run an init in the container that forwards signals and reaps processes")
	f.BoolVar(&c.readOnly, "read-only", false, "mount the root file system read-only")
	f.BoolVar(&c.privileged, "privileged", false, "give extended rights to the container")

	f.StringVar(&c.isolation, "isolation", "", "the wall around it (container|vm|default): vm gives it a kernel of its own")
	f.BoolVar(&c.noTemplate, "no-template", false, "boot the VM's kernel afresh, not from a template (with --isolation vm)")
	f.StringVar(&c.userns, "userns", "", "user namespace (host)")
	f.StringVar(&c.pid, "pid", "", "PID namespace (host|container:NAME)")
	f.StringVar(&c.ipc, "ipc", "", "IPC namespace (private|shareable|host|none|container:NAME)")
	f.StringVar(&c.uts, "uts", "", "UTS namespace (host)")
	f.StringVar(&c.cgroupns, "cgroupns", "", "cgroup namespace (host|private)")

	f.VarP(&c.memory, "memory", "m", "memory limit, such as 512m")
	f.Var(&c.memorySwap, "memory-swap", "limit of memory and swap together; -1 for no limit")
	f.Var(&c.memoryReservation, "memory-reservation", "soft limit of memory")
	f.Var(&c.shmSize, "shm-size", "size of /dev/shm")
	f.Var(&c.cpus, "cpus", "number of CPUs, such as 1.5")
	f.Int64VarP(&c.cpuShares, "cpu-shares", "c", 0, "relative weight of CPU time")
	f.Int64Var(&c.pidsLimit, "pids-limit", 0, "number of processes at most; -1 for no limit")
	f.StringVar(&c.cpuset, "cpuset-cpus", "", "CPUs to run on, such as 0-2 or 0,1")
	f.IntVar(&c.oomScoreAdj, "oom-score-adj", 0, "preference for the OOM killer (-1000 to 1000)")
	f.StringArrayVar(&c.ulimits, "ulimit", nil, "resource limit (NAME=SOFT[:HARD])")
	f.Uint16Var(&c.blkioWeight, "blkio-weight", 0, "relative weight of block I/O (10 to 1000)")
	f.StringArrayVar(&c.blkioWeightDevices, "blkio-weight-device", nil, "weight for one device (PATH:WEIGHT)")
	f.StringArrayVar(&c.readBps, "device-read-bps", nil, "bytes per second read from a device at most (PATH:10mb)")
	f.StringArrayVar(&c.writeBps, "device-write-bps", nil, "bytes per second written to a device at most (PATH:10mb)")
	f.StringArrayVar(&c.readIOps, "device-read-iops", nil, "reads per second from a device at most (PATH:NUMBER)")
	f.StringArrayVar(&c.writeIOps, "device-write-iops", nil, "writes per second to a device at most (PATH:NUMBER)")
	f.Int64Var(&c.swappiness, "memory-swappiness", -1, "how readily memory is swapped (0 to 100; cgroup v1)")
	f.BoolVar(&c.oomKillDisable, "oom-kill-disable", false, "let processes wait for memory beyond the limit, instead of killing them (cgroup v1)")
	f.StringArrayVar(&c.deviceRules, "device-cgroup-rule", nil, "allow devices by number ('c 10:200 rwm')")
	f.StringArrayVar(&c.devices, "device", nil, "add a device of the host (PATH[:PATH_IN_CONTAINER][:rwm])")

	f.StringArrayVar(&c.capAdd, "cap-add", nil, "add a capability")
	f.StringArrayVar(&c.capDrop, "cap-drop", nil, "drop a capability")
	f.StringArrayVar(&c.securityOpts, "security-opt", nil, "security option (no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined)")
	f.StringArrayVar(&c.sysctls, "sysctl", nil, "set a kernel parameter of the container's namespaces (NAME=VALUE)")
	f.StringArrayVar(&c.groupAdd, "group-add", nil, "add a group to the user")

	f.StringArrayVarP(&c.volumes, "volume", "v", nil, "mount a volume or a directory ([SOURCE:]TARGET[:OPTIONS])")
	f.StringArrayVar(&c.mounts, "mount", nil, "mount something (type=bind|volume|tmpfs,source=...,target=...)")
	f.StringArrayVar(&c.tmpfs, "tmpfs", nil, "mount a tmpfs (PATH[:OPTIONS])")

	f.StringArrayVarP(&c.publish, "publish", "p", nil, "publish a port ([[IP:][HOSTPORT]:]PORT[/PROTOCOL], ranges too)")
	f.BoolVarP(&c.publishAll, "publish-all", "P", false, "publish every exposed port on one that the engine chooses")
	f.StringArrayVar(&c.expose, "expose", nil, "expose a port or a range of ports")
	f.StringArrayVar(&c.dns, "dns", nil, "DNS server")
	f.StringArrayVar(&c.dnsSearch, "dns-search", nil, "DNS search domain")
	f.StringArrayVar(&c.dnsOptions, "dns-option", nil, "DNS resolver option")
	f.StringArrayVar(&c.networks, "network", nil, "network to join (bridge, host, none, container:NAME, or one of network create); of several the first has eth0")
	f.StringArrayVar(&c.networks, "net", nil, "same as --network")
	_ = f.MarkHidden("net")
	f.StringArrayVar(&c.aliases, "network-alias", nil, "further DNS name on the network")
	f.StringVar(&c.mac, "mac-address", "", "MAC address")
	f.StringVar(&c.ip, "ip", "", "IPv4 address")
	f.StringVar(&c.ip6, "ip6", "", "IPv6 address, in a network with --ipv6")
	f.StringArrayVar(&c.links, "link", nil, "another name for a container of the network (NAME[:ALIAS])")

	f.StringVar(&c.logDriver, "log-driver", "", "how output is kept (json-file, local: the same; none: not at all)")
	f.StringArrayVar(&c.logOpts, "log-opt", nil, "how much of it (max-size=10m, max-file=3), and what `logs --details` tells (labels=, env=, tag=)")

	f.StringVar(&c.platform, "platform", "", "platform of the image (OS/ARCH[/VARIANT])")
	f.StringVar(&c.pull, "pull", "missing", "when to pull the image (always|missing|never)")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "print nothing of the pull")

	f.BoolVar(&c.noHealth, "no-healthcheck", false, "leave out the image's health check")
	f.StringVar(&c.healthCmd, "health-cmd", "", "command that checks the health: 0 is healthy")
	f.Var(&c.healthInterval, "health-interval", "time between checks, such as 10s (30s unless the image says another)")
	f.Var(&c.healthTimeout, "health-timeout", "time that a check may take (30s unless the image says another)")
	f.Var(&c.healthStart, "health-start-period", "time for the container to start before failures count")
	f.Var(&c.healthStartEvery, "health-start-interval", "time between checks in the start period (5s unless the image says another)")
	f.IntVar(&c.healthRetries, "health-retries", 0, "failures in a row that mean unhealthy (3 unless the image says another)")
}
