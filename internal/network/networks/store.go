package networks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/network"
	"github.com/abode-run/abode/internal/state"
)

// Config says where networks live.
type Config struct {
	Dir    string                             // of what they are
	Run    string                             // of who is in them; a reboot may clear it
	Bridge string                             // of the engine's default network
	Beyond func(id, name string) []netip.Addr // see network.Config
	Log    *slog.Logger
}

// Spec is what a user asks of a network.
type Spec struct {
	Name       string
	Labels     map[string]string `json:",omitempty"`
	Options    map[string]string `json:",omitempty"`
	Internal   bool              `json:",omitempty"`
	Attachable bool              `json:",omitempty"` // kept for clients that ask; any container may join
	Subnet     netip.Prefix      // of a Network: the one that was chosen
	Gateway    netip.Addr
	Range      netip.Prefix `json:",omitzero"`

	IPv6     bool         `json:",omitempty"` // beside IPv4
	Subnet6  netip.Prefix `json:",omitzero"`  // as Subnet, and the others as theirs
	Gateway6 netip.Addr   `json:",omitzero"`
	Range6   netip.Prefix `json:",omitzero"`
}

// Network is one that a user has made.
type Network struct {
	ID      string // 64 hexadecimal digits
	Created time.Time
	Spec
	// Removing says that it is to be gone: on disk alone.
	Removing bool `json:",omitempty"`
}

// Store holds all. Its methods may be called concurrently.
type Store struct {
	cfg    Config
	making sync.Mutex // one network is made at a time

	mu   sync.Mutex
	byID map[string]*entry
}

type entry struct {
	Network
	net   *network.Network
	err   error             // why there is no net
	users map[string]string // containers that are in it, by ID: their names
}

// Open reads what there is. It changes nothing on the host; Recover is to
// follow.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of networks: %w", err)
	}
	files, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list networks: %w", err)
	}
	s := &Store{cfg: cfg, byID: map[string]*entry{}}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !state.IsID(id) {
			continue
		}
		var n Network
		if err := state.ReadJSON(s.file(id), &n); err != nil || n.ID != id {
			s.close(ctx)
			return nil, fmt.Errorf("cannot read network %s: %w; restore %s, or move it away", id[:12], errors.Join(err, errdefs.ErrDataLoss), s.file(id))
		}
		e := &entry{Network: n, users: map[string]string{}}
		if e.net, e.err = network.Open(ctx, s.config(&n)); e.err != nil {
			cfg.Log.Error("a network cannot be used", "network", n.Name, "error", e.err)
		}
		s.byID[id] = e
	}
	return s, nil
}

func (s *Store) file(id string) string { return filepath.Join(s.cfg.Dir, id+".json") }

func (s *Store) config(n *Network) network.Config {
	return network.Config{
		Dir: filepath.Join(s.cfg.Run, n.ID), Bridge: network.BridgeName(s.cfg.Bridge, n.ID), Subnet: n.Subnet, Gateway: n.Gateway, Range: n.Range,
		Subnet6: n.Subnet6, Gateway6: n.Gateway6, Range6: n.Range6,
		Internal: n.Internal, Default: s.cfg.Bridge, Beyond: s.cfg.Beyond, Log: s.cfg.Log,
	}
}

// Recover takes over what an earlier daemon left: the containers in live, by
// the IDs of their networks, keep their places, and what else there is of them
// on the host is removed. A network that cannot be had is logged.
func (s *Store) Recover(ctx context.Context, live map[string][]network.Request) error {
	var errs []error
	for _, e := range s.entries() {
		switch {
		case e.net == nil:
			continue
		case e.Removing:
			errs = append(errs, e.net.Recover(ctx, nil), s.erase(ctx, e))
			continue
		}
		for _, r := range live[e.ID] {
			name := r.ID
			if len(r.Names) > 0 {
				name = r.Names[0]
			}
			e.users[r.ID] = name
		}
		if err := e.net.Recover(ctx, live[e.ID]); err != nil {
			s.cfg.Log.Error("a network is not what it was", "network", e.Name, "error", err)
		}
	}
	return errors.Join(errs...)
}

func (s *Store) entries() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byID))
}

// Close ends the networks as network.Network.Close does: those that containers
// are in stay on the host.
func (s *Store) Close(ctx context.Context) error { return s.close(ctx) }

func (s *Store) close(ctx context.Context) error {
	var errs []error
	for _, e := range s.entries() {
		if e.net != nil {
			errs = append(errs, e.net.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// List returns all networks, by name.
func (s *Store) List() []Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Network, 0, len(s.byID))
	for _, e := range s.byID {
		if !e.Removing {
			list = append(list, e.Network)
		}
	}
	slices.SortFunc(list, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Subnets tells what the networks have.
func (s *Store) Subnets() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []netip.Prefix
	for _, e := range s.byID {
		list = append(list, e.Subnet)
		if e.IPv6 {
			list = append(list, e.Subnet6)
		}
	}
	return list
}

// Find returns the network of an ID, of a name, or of the beginning of one ID.
func (s *Store) Find(name string) (Network, error) {
	var found []Network
	for _, n := range s.List() {
		if n.ID == name || n.Name == name {
			return n, nil
		}
		if name != "" && strings.HasPrefix(n.ID, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return Network{}, refuse(errdefs.ErrNotFound, "network %s not found", name)
	case 1:
		return found[0], nil
	}
	return Network{}, refuse(errdefs.ErrInvalidArgument, "network %s is ambiguous (%d matches found on ID prefix)", name, len(found))
}
