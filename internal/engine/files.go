package engine

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/abode-run/abode/internal/agent"
)

// files are those that the engine writes for a container, but for those that
// the user mounts something over.
func (rec *record) files(j *attachments) ([]agent.File, error) {
	hosts, err := rec.hosts(j)
	if err != nil {
		return nil, err
	}
	if rec.joined != nil && rec.joined.files != nil {
		return rec.ownFiles(slices.Clone(rec.joined.files)), nil
	}
	list := []agent.File{
		{Path: "/etc/hostname", Mode: 0o644, Content: []byte(rec.Config.Hostname + "\n")},
		{Path: "/etc/hosts", Mode: 0o644, Content: []byte(hosts)},
		{Path: "/etc/resolv.conf", Mode: 0o644, Content: []byte(rec.resolvConf(j.out()))},
	}
	return rec.ownFiles(list), nil
}

// ownFiles leaves out those over which the user mounts something.
func (rec *record) ownFiles(list []agent.File) []agent.File {
	return slices.DeleteFunc(list, func(f agent.File) bool {
		return slices.ContainsFunc(rec.Mounts, func(m mountPoint) bool { return m.Target == f.Path })
	})
}

const defaultHosts = "127.0.0.1\tlocalhost\n" +
	"::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::\tip6-localnet\n" +
	"ff00::\tip6-mcastprefix\n" +
	"ff02::1\tip6-allnodes\n" +
	"ff02::2\tip6-allrouters\n"

func (rec *record) hosts(j *attachments) (string, error) {
	var b strings.Builder
	out := j.out()
	if networkName(rec.Config, rec.Host) == "host" {
		h, err := os.ReadFile("/etc/hosts")
		if err != nil && !os.IsNotExist(err) {
			return "", fmt.Errorf("cannot read the host's names: %w", err)
		}
		b.Write(h)
		if len(h) > 0 && h[len(h)-1] != '\n' {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(defaultHosts)
	}
	for _, e := range rec.Host.ExtraHosts {
		host, addr, _ := cutHost(e)
		if addr == hostGateway {
			addr = "127.0.0.1" // on the host's network
			if out != nil && len(out.DNS) > 0 {
				addr = out.DNS[0] // the bridge's, which an internal network has too
			}
		}
		fmt.Fprintf(&b, "%s\t%s\n", addr, host)
	}
	names := rec.Config.Hostname
	if d := rec.Config.Domainname; d != "" {
		names = names + "." + d + " " + names
	} else if short, _, ok := strings.Cut(names, "."); ok {
		names += " " + short
	}
	for _, at := range j.Places {
		for _, a := range at.Addresses {
			p, err := netip.ParsePrefix(a)
			if err != nil {
				return "", fmt.Errorf("cannot use the network's address %q: %w", a, err)
			}
			fmt.Fprintf(&b, "%s\t%s\n", p.Addr(), names)
		}
	}
	return b.String(), nil
}

// resolvConf asks the network's resolver, which knows the containers' names,
// unless the user names others. Without a place in the network it is the
// host's.
func (rec *record) resolvConf(at *place) string {
	h := rec.Host
	var servers, search, options []string
	if at != nil {
		servers, search, options = at.DNS, at.Search, []string{"ndots:0"}
	} else {
		servers, search, options = hostResolvConf()
	}
	if len(h.DNS) > 0 {
		servers = nil
		for _, a := range h.DNS {
			servers = append(servers, a.String())
		}
	}
	if len(h.DNSSearch) > 0 {
		search = h.DNSSearch
	}
	if len(h.DNSOptions) > 0 {
		options = h.DNSOptions
	}
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(search) > 0 && !slices.Equal(search, []string{"."}) {
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	if len(options) > 0 {
		b.WriteString("options " + strings.Join(options, " ") + "\n")
	}
	return b.String()
}

func hostResolvConf() (servers, search, options []string) {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil, nil, nil
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			servers = append(servers, f[1])
		case "search":
			search = f[1:]
		case "options":
			options = append(options, f[1:]...)
		}
	}
	return servers, search, options
}
