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
	subnet6 netip.Prefix // zero: no IPv6

	mu     sync.RWMutex
	byName map[string][]netip.Addr
	byAddr map[netip.Addr]string // the name to give for an address
	byID   map[string]named
}

type named struct {
	addrs []netip.Addr
	names []string
}

func newNames() *names {
	return &names{byName: map[string][]netip.Addr{}, byAddr: map[netip.Addr]string{}, byID: map[string]named{}}
}

// set replaces the names of a container.
func (n *names) set(e lease) {
	all := make([]string, 0, len(e.Names)+3)
	for _, s := range append(slices.Clone(e.Names), e.Hostname, e.ID[:min(len(e.ID), shortID)], e.ID) {
		s = strings.ToLower(strings.Trim(s, "./"))
		if s != "" && len(s) <= 253 && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(e.ID)
	addrs := e.addresses()
	for _, s := range all {
		n.byName[s] = append(n.byName[s], addrs...)
	}
	for _, a := range addrs {
		n.byAddr[a] = all[0]
	}
	n.byID[e.ID] = named{addrs, all}
}

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
// dot at its end.
func (n *names) lookup(name string) []netip.Addr {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Clone(n.byName[name])
}

// reverse returns the name of an address, or "".
func (n *names) reverse(a netip.Addr) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.byAddr[a]
}
