package engine

import (
	"strings"
)

// link reads links of a client, such as "database:db".
func (p *endpoint) link(links []string) error {
	for _, l := range links {
		name, alias, err := parseLink(l)
		if err != nil {
			return err
		}
		if p.Links == nil {
			p.Links = map[string]string{}
		}
		p.Links[alias] = name
	}
	return nil
}

// parseLink reads NAME[:ALIAS]. Docker's own form, /NAME:/CONTAINER/ALIAS, comes
// from clients that make a container again from what inspect says.
func parseLink(link string) (name, alias string, err error) {
	name, alias, _ = strings.Cut(link, ":")
	name, alias = strings.TrimPrefix(name, "/"), alias[strings.LastIndexByte(alias, '/')+1:]
	if alias == "" {
		alias = name
	}
	if name == "" || strings.Contains(alias, ":") {
		return "", "", invalid("bad format for links: %s; it is NAME:ALIAS", link)
	}
	return name, alias, nil
}

// legacyLinks reads HostConfig.Links, which Docker has for its default network.
// The containers must be there.
func (e *Engine) legacyLinks(rec *record) error {
	if len(rec.Host.Links) == 0 {
		return nil
	}
	if !rec.plain() {
		// As the docker command, which tells it twice.
		return rec.Endpoints[0].link(rec.Host.Links)
	}
	for _, l := range rec.Host.Links {
		name, _, err := parseLink(l)
		if err != nil {
			return err
		}
		c, err := e.containers.find(name)
		if err != nil {
			return invalid("could not get container for %s: no such container; start it first", name)
		}
		if other, _ := c.snapshot(); other.endpoint(defaultNetwork) == nil {
			return invalid("cannot link to %s: it is not in the network %s", name, defaultNetwork)
		}
	}
	return rec.Endpoints[0].link(rec.Host.Links)
}

// linked refuses the start of a container that is linked to one which does not
// run, as Docker does in its default network.
func (c *Container) linked(rec *record) error {
	for _, l := range rec.Host.Links {
		if !rec.plain() {
			return nil
		}
		name, alias, err := parseLink(l)
		if err != nil {
			return err
		}
		other, err := c.e.containers.find(name)
		if err != nil {
			return conflict("cannot link to %s, as it does not exist", name)
		}
		if _, st := other.snapshot(); !st.Phase.active() {
			return conflict("cannot link to a non running container: /%s AS /%s/%s", name, rec.Name, alias)
		}
	}
	return nil
}

// inspectLinks are HostConfig.Links as Docker shows them.
func (rec *record) inspectLinks() []string {
	var list []string
	for _, l := range rec.Host.Links {
		if name, alias, err := parseLink(l); err == nil {
			list = append(list, "/"+name+":/"+rec.Name+"/"+alias)
		}
	}
	return list
}
