package network

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// shortID is how many digits of an ID are a name of their own.
const shortID = 12

// names maps the names of attached containers to addresses and back. Several
// containers may share a name. It is safe for concurrent use.
type names struct {
	subnet6 netip.Prefix                       // zero: no IPv6
	beyond  func(id, name string) []netip.Addr // Config.Beyond

	mu     sync.RWMutex
	byName map[string][]netip.Addr
	byAddr map[netip.Addr]string // the container that has it
	byID   map[string]named
}

type named struct {
	addrs []netip.Addr
	names []string          // the first is the one to give for the addresses
	links map[string]string // Request.Links
}

func newNames(beyond func(id, name string) []netip.Addr) *names {
	return &names{beyond: beyond, byName: map[string][]netip.Addr{}, byAddr: map[netip.Addr]string{}, byID: map[string]named{}}
}

// set replaces the names of a container.
func (n *names) set(e lease) {
	all := make([]string, 0, len(e.Names)+3)
	for _, s := range append(slices.Clone(e.Names), e.Hostname, e.ID[:min(len(e.ID), shortID)], e.ID) {
		s = foldName(s)
		if s != "" && len(s) <= 253 && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	links := make(map[string]string, len(e.Links))
	for alias, name := range e.Links {
		links[foldName(alias)] = foldName(name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(e.ID)
	addrs := e.addresses()
	for _, s := range all {
		n.byName[s] = append(n.byName[s], addrs...)
	}
	for _, a := range addrs {
		n.byAddr[a] = e.ID
	}
	n.byID[e.ID] = named{addrs, all, links}
}

func foldName(s string) string { return strings.ToLower(strings.Trim(s, "./")) }

func (n *names) remove(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(id)
}

func (n *names) removeLocked(id string) {
	old, ok := n.byID[id]
	if !ok {
		return
	}
	delete(n.byID, id)
	for _, a := range old.addrs {
		delete(n.byAddr, a)
	}
	for _, s := range old.names {
		left := slices.DeleteFunc(n.byName[s], func(a netip.Addr) bool { return slices.Contains(old.addrs, a) })
		if len(left) == 0 {
			delete(n.byName, s)
		} else {
			n.byName[s] = left
		}
	}
}

// lookup returns the addresses of a name, which is in lower case and without a
// dot at its end, as the container with the address from calls it.
func (n *names) lookup(from netip.Addr, name string) []netip.Addr {
	n.mu.RLock()
	id := n.byAddr[from.Unmap()]
	n.mu.RUnlock()
	found := n.lookupFor(id, name)
	if len(found) == 0 && id != "" && n.beyond != nil {
		return n.beyond(id, name)
	}
	return found
}

// lookupFor is lookup in this network alone, for the container of an ID.
func (n *names) lookupFor(id, name string) []netip.Addr {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if to, ok := n.byID[id].links[name]; ok {
		name = to
	}
	return slices.Clone(n.byName[name])
}

// reverse returns the name of an address, or "".
func (n *names) reverse(a netip.Addr) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if c, ok := n.byID[n.byAddr[a]]; ok {
		return c.names[0]
	}
	return ""
}
