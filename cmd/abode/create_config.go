package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"

	"github.com/abode-run/abode/internal/cli/flags"
)

// noTemplateAnnotation tells the engine to boot a VM's kernel afresh.
const noTemplateAnnotation = "abode.no-template"

// options makes a create request of the flags; changed tells which of them
// were given, args are the image and the command.
func (c *createFlags) options(set *pflag.FlagSet, args []string, detach bool) (client.ContainerCreateOptions, error) {
	var o client.ContainerCreateOptions
	if err := c.check(set, detach); err != nil {
		return o, err
	}
	config, err := c.config(set, args, detach)
	if err != nil {
		return o, err
	}
	host, err := c.hostConfig(set)
	if err != nil {
		return o, err
	}
	if err := c.files(config, host); err != nil {
		return o, err
	}
	if config.ExposedPorts, host.PortBindings, err = flags.Ports(c.publish, c.expose); err != nil {
		return o, err
	}
	networking, err := c.networking(host)
	if err != nil {
		return o, err
	}
	platform, err := flags.Platform(c.platform)
	if err != nil {
		return o, err
	}
	return client.ContainerCreateOptions{
		Config: config, HostConfig: host, NetworkingConfig: networking, Platform: platform, Name: c.name,
	}, nil
}

func (c *createFlags) attached(stream string) bool {
	return slices.ContainsFunc(c.attach, func(a string) bool { return strings.EqualFold(a, stream) })
}

func (c *createFlags) config(set *pflag.FlagSet, args []string, detach bool) (*container.Config, error) {
	env, err := flags.Env(c.envFiles, c.env, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	labels, err := flags.Labels(c.labelFiles, c.labels)
	if err != nil {
		return nil, err
	}
	config := &container.Config{
		Hostname: c.hostname, Domainname: c.domainname, User: c.user, WorkingDir: c.workdir,
		Tty: c.tty, OpenStdin: c.interactive, Env: env, Labels: labels,
		Image: args[0], Cmd: args[1:], StopSignal: c.stopSignal, Healthcheck: c.health(),
	}
	if len(config.Cmd) == 0 {
		config.Cmd = nil
	}
	if set.Changed("entrypoint") {
		config.Entrypoint = []string{c.entrypoint}
	}
	if set.Changed("stop-timeout") {
		config.StopTimeout = &c.stopTimeout
	}
	if !detach {
		all := len(c.attach) == 0
		config.AttachStdin = all && c.interactive || c.attached("stdin")
		config.AttachStdout = all || c.attached("stdout")
		config.AttachStderr = all || c.attached("stderr")
	}
	config.StdinOnce = config.OpenStdin && config.AttachStdin
	return config, nil
}

func (c *createFlags) health() *container.HealthConfig {
	if c.noHealth {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	h := container.HealthConfig{
		Interval: time.Duration(c.healthInterval), Timeout: time.Duration(c.healthTimeout),
		StartPeriod: time.Duration(c.healthStart), StartInterval: time.Duration(c.healthStartEvery), Retries: c.healthRetries,
	}
	if c.healthCmd != "" {
		h.Test = []string{"CMD-SHELL", c.healthCmd}
	}
	if len(h.Test) == 0 && h.Interval == 0 && h.Timeout == 0 && h.StartPeriod == 0 && h.StartInterval == 0 && h.Retries == 0 {
		return nil
	}
	return &h
}

func (c *createFlags) hostConfig(set *pflag.FlagSet) (*container.HostConfig, error) {
	host := &container.HostConfig{
		ContainerIDFile: c.cidFile, AutoRemove: c.autoRemove, PublishAllPorts: c.publishAll,
		CapAdd: c.capAdd, CapDrop: c.capDrop, GroupAdd: c.groupAdd, OomScoreAdj: c.oomScoreAdj,
		Privileged: c.privileged, ReadonlyRootfs: c.readOnly, ShmSize: int64(c.shmSize),
		UsernsMode: container.UsernsMode(c.userns), PidMode: container.PidMode(c.pid), IpcMode: container.IpcMode(c.ipc),
		UTSMode: container.UTSMode(c.uts), CgroupnsMode: container.CgroupnsMode(c.cgroupns),
		Isolation: container.Isolation(c.isolation), Tmpfs: flags.Tmpfs(c.tmpfs),
		DNSSearch: c.dnsSearch, DNSOptions: c.dnsOptions, Links: c.links,
		Resources: container.Resources{
			Memory: int64(c.memory), MemorySwap: int64(c.memorySwap), MemoryReservation: int64(c.memoryReservation),
			NanoCPUs: int64(c.cpus), CPUShares: c.cpuShares, CpusetCpus: c.cpuset,
		},
	}
	if set.Changed("init") {
		host.Init = &c.init
	}
	if set.Changed("pids-limit") {
		host.PidsLimit = &c.pidsLimit
	}
	if c.swappiness != -1 {
		host.MemorySwappiness = &c.swappiness
	}
	if set.Changed("oom-kill-disable") {
		host.OomKillDisable = &c.oomKillDisable
	}
	host.BlkioWeight, host.DeviceCgroupRules = c.blkioWeight, c.deviceRules
	err := c.blockDevices(&host.Resources)
	if err != nil {
		return nil, err
	}
	if host.RestartPolicy, err = flags.Restart(c.restart); err != nil {
		return nil, err
	}
	if host.Ulimits, err = flags.Ulimits(c.ulimits); err != nil {
		return nil, err
	}
	if host.ExtraHosts, err = flags.Hosts(c.addHosts); err != nil {
		return nil, err
	}
	if host.Sysctls, err = flags.Map("sysctl", c.sysctls); err != nil {
		return nil, err
	}
	host.LogConfig.Type = c.logDriver
	if host.LogConfig.Config, err = flags.Map("log-opt", c.logOpts); err != nil {
		return nil, err
	}
	if host.Annotations, err = flags.Map("annotation", c.annotations); err != nil {
		return nil, err
	}
	if c.noTemplate {
		if host.Annotations == nil {
			host.Annotations = map[string]string{}
		}
		host.Annotations[noTemplateAnnotation] = "true"
	}
	options, unmasked, err := flags.SecurityOptions(c.securityOpts)
	if err != nil {
		return nil, err
	}
	host.SecurityOpt = options
	if unmasked { // empty lists, as against none, which stand for the defaults
		host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	}
	for _, d := range c.devices {
		m, err := flags.Device(d)
		if err != nil {
			return nil, err
		}
		host.Devices = append(host.Devices, m)
	}
	for _, s := range c.dns {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("invalid DNS server %q: expected an IP address", s)
		}
		host.DNS = append(host.DNS, ip)
	}
	return host, nil
}

// blockDevices reads the limits of devices.
func (c *createFlags) blockDevices(r *container.Resources) (err error) {
	if r.BlkioWeightDevice, err = flags.DeviceWeights(c.blkioWeightDevices); err != nil {
		return err
	}
	if r.BlkioDeviceReadBps, err = flags.DeviceRates(c.readBps, true); err != nil {
		return err
	}
	if r.BlkioDeviceWriteBps, err = flags.DeviceRates(c.writeBps, true); err != nil {
		return err
	}
	if r.BlkioDeviceReadIOps, err = flags.DeviceRates(c.readIOps, false); err != nil {
		return err
	}
	r.BlkioDeviceWriteIOps, err = flags.DeviceRates(c.writeIOps, false)
	return err
}

func (c *createFlags) files(config *container.Config, host *container.HostConfig) (err error) {
	if host.Binds, config.Volumes, err = flags.Volumes(c.volumes); err != nil {
		return err
	}
	for _, v := range c.mounts {
		m, err := flags.Mount(v)
		if err != nil {
			return fmt.Errorf("invalid argument %q for --mount: %w", v, err)
		}
		if m.Type == mount.TypeBind && !filepath.IsAbs(m.Source) {
			return fmt.Errorf("invalid argument %q for --mount: the source of a bind mount must be an absolute path", v)
		}
		host.Mounts = append(host.Mounts, m)
	}
	return nil
}

// networking holds what is asked of the networks that a container joins, of
// which the first is told in host too.
func (c *createFlags) networking(host *container.HostConfig) (*network.NetworkingConfig, error) {
	first := flags.Endpoint{Aliases: c.aliases, IP: c.ip, IP6: c.ip6, MAC: c.mac}
	name, all, err := flags.Networks(c.networks, first)
	if err != nil {
		return nil, err
	}
	host.NetworkMode = container.NetworkMode(name)
	if len(all) == 0 {
		return nil, nil
	}
	return &network.NetworkingConfig{EndpointsConfig: all}, nil
}
