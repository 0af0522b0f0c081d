package network

import (
	"net/netip"
	"os"
	"strings"
)

// resolvConf is the part of resolv.conf(5) that containers are served by.
type resolvConf struct {
	servers []netip.Addr // IPv6 ones may have a zone
	search  []string
}

// readResolvConf reads the host's configuration. A host without one has no
// resolvers; names of containers work nevertheless.
func readResolvConf() resolvConf {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return resolvConf{}
	}
	return parseResolvConf(string(b))
}

func parseResolvConf(text string) resolvConf {
	var c resolvConf
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(c.servers) < 3 {
				c.servers = append(c.servers, a.Unmap())
			}
		case "domain", "search": // the last one counts
			c.search = nil
			for _, s := range f[1:] {
				if s != "." {
					c.search = append(c.search, s)
				}
			}
		}
	}
	return c
}
