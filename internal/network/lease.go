package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/state"
)

// A lease is a container's place on the network while it is attached.
type lease struct {
	ID       string
	Port     string `json:",omitempty"`
	Trunk    string `json:",omitempty"`
	Address  netip.Addr
	Address6 netip.Addr `json:",omitzero"`
	MAC      string
	Hostname string
	Names    []string
	Ports    []PortBinding
	Links    map[string]string `json:",omitempty"`
	Spare    string            `json:",omitempty"` // whose link it took over
}

// link is what the names of its links are derived from.
func (e lease) link() string {
	if e.Spare != "" {
		return e.Spare
	}
	return e.ID
}

// maxPast bounds for how many detached containers the address is kept.
const maxPast = 4096

// past is the address that a detached container had.
type past struct {
	ID       string
	Address  netip.Addr
	Address6 netip.Addr `json:",omitzero"`
}

// ledger says who has which address, and who had it. It is safe for concurrent
// use. Its file is written by save, which writes for all who wait at once.
type ledger struct {
	path    string
	gateway netip.Addr   // zero: the subnet's first address
	pool    netip.Prefix // of the addresses to choose; zero: the subnet

	subnet6, pool6 netip.Prefix // zero: no IPv6
	gateway6       netip.Addr

	mu    sync.Mutex
	d     ledgerData
	next  uint32 // number of the address to try first
	next6 netip.Addr
	gen   uint64 // of the data

	saveMu sync.Mutex
	saved  uint64 // the generation on disk
}

type ledgerData struct {
	Made   time.Time // when the ledger was begun
	Subnet netip.Prefix
	Leases map[string]*lease
	Past   []past // the latest last
}

func openLedger(path string) (*ledger, error) {
	l := &ledger{path: path}
	if err := state.ReadJSON(path, &l.d); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the network's state: %w; when no container runs, %s can be removed", err, path)
	}
	if l.d.Leases == nil {
		l.d.Leases = map[string]*lease{}
	}
	if l.d.Made.IsZero() {
		l.d.Made = time.Now().UTC()
		l.gen++
	}
	return l, nil
}

// take gives r an address and enters it.
func (l *ledger) take(r Request) (lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	addr, err := l.choose(r)
	if err != nil {
		return lease{}, err
	}
	addr6, err := l.choose6(r)
	if err != nil {
		return lease{}, err
	}
	mac := r.MAC
	if mac == "" {
		mac = macOf(addr).String()
	}
	e := &lease{ID: r.ID, Port: r.Port, Trunk: r.Trunk, Address: addr, Address6: addr6, MAC: mac,
		Hostname: r.Hostname, Names: slices.Clone(r.Names), Ports: slices.Clone(r.Ports), Links: maps.Clone(r.Links), Spare: r.Spare}
	l.d.Leases[r.ID] = e
	l.d.Past = slices.DeleteFunc(l.d.Past, func(p past) bool { return p.ID == r.ID || p.Address == addr || addr6.IsValid() && p.Address6 == addr6 })
	l.gen++
	return *e, nil
}

func (l *ledger) choose(r Request) (netip.Addr, error) {
	s := l.d.Subnet
	taken := make(map[netip.Addr]bool, len(l.d.Leases))
	for id, e := range l.d.Leases {
		if id != r.ID {
			taken[e.Address] = true
		}
	}
	gateway, pool := l.gateway, l.pool
	if !gateway.IsValid() {
		gateway = gatewayOf(s)
	}
	if !pool.IsValid() {
		pool = s
	}
	free := func(a netip.Addr) bool { return usable(s, a) && a != gateway && !taken[a] }
	if a := r.Address.Unmap(); free(a) {
		return a, nil
	}
	kept := make(map[netip.Addr]bool, len(l.d.Past))
	for _, p := range l.d.Past {
		if p.ID == r.ID && free(p.Address) && pool.Contains(p.Address) {
			return p.Address, nil
		}
		kept[p.Address] = true
	}
	size := uint32(1) << (32 - pool.Bits())
	for range size {
		l.next %= size
		a := hostAt(pool, l.next)
		l.next++
		if free(a) && !kept[a] {
			return a, nil
		}
	}
	for _, p := range l.d.Past { // the oldest first
		if free(p.Address) && pool.Contains(p.Address) {
			return p.Address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("cannot give the container an address: all of %s are taken; remove containers, or use a network with a larger subnet: %w", pool, errdefs.ErrResourceExhausted)
}

// release strikes a lease out; its address is remembered.
func (l *ledger) release(id string) (lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.d.Leases[id]
	if !ok {
		return lease{}, false
	}
	delete(l.d.Leases, id)
	l.d.Past = append(l.d.Past, past{ID: id, Address: e.Address, Address6: e.Address6})
	if n := len(l.d.Past) - maxPast; n > 0 {
		l.d.Past = slices.Delete(l.d.Past, 0, n)
	}
	l.gen++
	return *e, true
}

func (l *ledger) get(id string) (lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.d.Leases[id]
	if !ok {
		return lease{}, false
	}
	return *e, true
}

// update changes a lease, if there is one.
func (l *ledger) update(id string, change func(*lease)) (lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.d.Leases[id]
	if !ok {
		return lease{}, false
	}
	c := *e
	change(&c)
	l.d.Leases[id] = &c
	l.gen++
	return c, true
}

// all returns the leases, sorted by ID.
func (l *ledger) all() []lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]lease, 0, len(l.d.Leases))
	for _, e := range l.d.Leases {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b lease) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (l *ledger) subnet() netip.Prefix {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.d.Subnet
}

func (l *ledger) setSubnet(p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.d.Subnet != p {
		l.d.Subnet = p
		l.next = 0
		l.gen++
	}
}

// save returns when everything that was entered before the call is on disk.
func (l *ledger) save() error {
	l.mu.Lock()
	want := l.gen
	l.mu.Unlock()
	l.saveMu.Lock()
	defer l.saveMu.Unlock()
	if l.saved >= want {
		return nil // an earlier caller's write had it
	}
	l.mu.Lock()
	gen := l.gen
	b, err := json.Marshal(&l.d)
	l.mu.Unlock()
	if err == nil {
		err = state.ReplaceJSON(l.path, json.RawMessage(b))
	}
	if err != nil {
		return fmt.Errorf("cannot write the network's state: %w", err)
	}
	l.saved = gen
	return nil
}
