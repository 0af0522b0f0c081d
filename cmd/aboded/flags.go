package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"github.com/abode-run/abode/internal/api"
	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/version"
)

type options struct {
	root, run, bridge, subnet string
	hosts                     []string
	isolation, hostsDir       string
	logLevel, agentBinary     string
	access                    api.Access
	metricsAddr, logDriver    string
	logOpts                   []string
	debug, ahead              bool

	logs   container.LogConfig
	level  slog.Level
	prefix netip.Prefix
}

// errHelp says that help, or the version, was asked for and given.
var errHelp = errors.New("help was asked for")

func parse(args []string) (options, error) {
	var o options
	var showVersion bool
	f := pflag.NewFlagSet("aboded", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&o.root, "root", "/var/lib/abode", "directory of what lasts: images, containers, volumes")
	f.StringVar(&o.run, "run", "/run/abode", "directory of what lasts until reboot: sockets, virtual machines")
	f.StringArrayVarP(&o.hosts, "host", "H", nil, "address to serve the API on: unix://PATH, tcp://ADDRESS:PORT (with --tlscacert, --tlscert and --tlskey) or fd://; repeatable (default unix://RUN/abode.sock)")
	f.StringVar(&o.bridge, "bridge", "abode0", "name of the network bridge; each engine needs its own")
	f.StringVar(&o.subnet, "subnet", "", "IPv4 subnet of the bridge (default: one that is free)")
	f.StringVar(&o.isolation, "default-isolation", string(kernel.Container), "wall around containers that ask for none: container or vm")
	f.StringVar(&o.hostsDir, "hosts-dir", "", "directory of registries' hosts.toml (default /etc/abode/hosts.d)")
	f.BoolVar(&o.ahead, "ahead", true, "keep interfaces, and while virtual machines are used one of them, ready for the next container")
	f.StringVarP(&o.access.Group, "group", "G", "", "group that may use the API's unix sockets")
	f.StringVar(&o.access.TLS.CA, "tlscacert", "", "file of the CA whose certificates clients on TCP need")
	f.StringVar(&o.access.TLS.Cert, "tlscert", "", "file of the server's certificate, for TCP")
	f.StringVar(&o.access.TLS.Key, "tlskey", "", "file of its key")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "TCP address that serves /metrics alone, for Prometheus, such as 127.0.0.1:9323 (default: none)")
	f.StringVar(&o.agentBinary, "agent", "", "the abode-agent program (default: beside aboded)")
	f.StringVar(&o.logDriver, "log-driver", "json-file", "how the output of containers that ask for nothing else is kept: json-file, local or none")
	f.StringArrayVar(&o.logOpts, "log-opt", nil, "how much of it, such as max-size=10m and max-file=3; repeatable (default: 5 files of 20 MiB)")
	f.StringVarP(&o.logLevel, "log-level", "l", "info", "debug, info, warn or error")
	f.BoolVarP(&o.debug, "debug", "D", false, "the same as --log-level debug")
	f.BoolVarP(&showVersion, "version", "v", false, "print the version")
	f.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: aboded [OPTIONS]\n\nThe daemon of Abode: runs OCI images as containers and as virtual machines.\n\nOptions:\n%s", f.FlagUsages())
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, errHelp
		}
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("takes no arguments, only options; see aboded --help")
	}
	if showVersion {
		fmt.Println("aboded version", version.Version)
		return o, errHelp
	}
	return o, o.complete()
}

// complete fills in what follows from other options and checks values.
func (o *options) complete() error {
	for _, dir := range []*string{&o.root, &o.run} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("cannot use directory %s: %w", *dir, err)
		}
		*dir = abs
	}
	if len(o.hosts) == 0 {
		o.hosts = []string{defaultHost(o.run)}
	}
	if o.agentBinary == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("cannot find abode-agent: %w; pass --agent PATH", err)
		}
		o.agentBinary = filepath.Join(filepath.Dir(self), "abode-agent")
	}
	if o.subnet != "" {
		p, err := netip.ParsePrefix(o.subnet)
		if err != nil {
			return fmt.Errorf("cannot use subnet %q: %w; write it as 172.30.0.0/16", o.subnet, err)
		}
		o.prefix = p.Masked()
	}
	o.logs = container.LogConfig{Type: o.logDriver, Config: map[string]string{}}
	for _, opt := range o.logOpts {
		key, value, ok := strings.Cut(opt, "=")
		if !ok || key == "" {
			return fmt.Errorf("cannot use --log-opt %q: write it as max-size=10m", opt)
		}
		o.logs.Config[key] = value
	}
	if err := o.level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return fmt.Errorf("cannot use log level %q: choose debug, info, warn or error", o.logLevel)
	}
	if o.debug {
		o.level = slog.LevelDebug
	}
	return nil
}

func (o *options) config(log *slog.Logger) engine.Config {
	return engine.Config{
		Root: o.root, Run: o.run, Bridge: o.bridge, Subnet: o.prefix, AgentBinary: o.agentBinary,
		DefaultIsolation: kernel.Isolation(o.isolation), HostsDir: o.hostsDir, NoAhead: !o.ahead, Logs: o.logs, Version: version.Version, Log: log,
	}
}
