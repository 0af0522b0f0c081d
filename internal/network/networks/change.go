package networks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/network"
	"github.com/abode-run/abode/internal/state"
)

// Create makes a network. Its subnet overlaps none of the host's, of the other
// networks' and of others.
func (s *Store) Create(ctx context.Context, spec Spec, others ...netip.Prefix) (Network, error) {
	if err := spec.check(); err != nil {
		return Network{}, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	for _, n := range s.List() {
		if n.Name == spec.Name {
			return Network{}, refuse(errdefs.ErrConflict, "network with name %s already exists", spec.Name)
		}
	}
	ids := s.ids()
	if len(ids) >= maxNetworks {
		return Network{}, refuse(errdefs.ErrResourceExhausted, "cannot make another network: there are %d; remove those that are no longer needed", len(ids))
	}
	id, err := network.NewID(s.cfg.Bridge, ids)
	if err != nil {
		return Network{}, err
	}
	subnet, clash, err := network.FreeSubnet(spec.Subnet, append(s.Subnets(), others...))
	if err != nil {
		return Network{}, err
	}
	if clash.IsValid() {
		return Network{}, overlaps(subnet, clash)
	}
	spec.Subnet = subnet
	if !spec.Gateway.IsValid() {
		spec.Gateway = subnet.Addr().Next()
	}
	if spec.IPv6 {
		if err := s.choose6(&spec, others); err != nil {
			return Network{}, err
		}
	}
	spec.Labels, spec.Options = maps.Clone(spec.Labels), maps.Clone(spec.Options)
	e := &entry{Network: Network{ID: id, Created: time.Now().UTC(), Spec: spec}, users: map[string]string{}}
	if e.net, err = network.Open(ctx, s.config(&e.Network)); err != nil {
		return Network{}, fmt.Errorf("cannot make network %s: %w", spec.Name, err)
	}
	err = s.write(&e.Network)
	if err == nil {
		err = e.net.Up(ctx)
	}
	if err != nil {
		return Network{}, errors.Join(err, e.net.Remove(context.WithoutCancel(ctx)), s.drop(id))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id] = e
	return e.Network, nil
}

// ids lists those of all networks, of removed ones too that are not gone yet.
func (s *Store) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byID))
}

func (s *Store) write(n *Network) error {
	err := state.WriteJSON(s.file(n.ID), n)
	if err == nil {
		err = state.SyncDir(s.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write down network %s: %w", n.Name, err)
	}
	return nil
}

func (s *Store) drop(id string) error {
	if err := os.Remove(s.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return state.SyncDir(s.cfg.Dir)
}

// Remove removes a network by its ID. One that a container is in is refused
// with Docker's words.
func (s *Store) Remove(ctx context.Context, id string) error {
	e, err := func() (*entry, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		e := s.byID[id]
		if e == nil || e.Removing {
			return nil, refuse(errdefs.ErrNotFound, "network %s not found", id)
		}
		if len(e.users) > 0 {
			var list []string
			for user, name := range e.users {
				list = append(list, fmt.Sprintf("name:%q id:%q", name, user[:min(len(user), 12)]))
			}
			slices.Sort(list)
			return nil, refuse(errdefs.ErrPermissionDenied, "error while removing network: network %s has active endpoints (%s)", e.Name, strings.Join(list, ", "))
		}
		e.Removing = true
		return e, nil
	}()
	if err != nil {
		return err
	}
	n := e.Network
	if err := s.write(&n); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.Removing = false
		return err
	}
	return s.erase(context.WithoutCancel(ctx), e)
}

// erase takes away what there is of a network whose removal is written down.
func (s *Store) erase(ctx context.Context, e *entry) error {
	if e.net != nil {
		if err := e.net.Remove(ctx); err != nil {
			return fmt.Errorf("network %s is removed, and what it leaves on the host goes with the daemon's next start: %w", e.Name, err)
		}
	}
	if err := s.drop(e.ID); err != nil {
		return fmt.Errorf("cannot remove network %s: %w", e.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, e.ID)
	return nil
}

// Use returns a network for a container, whose name may have changed. Until
// Leave it is not removed.
func (s *Store) Use(id, container, name string) (*network.Network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	switch {
	case e == nil || e.Removing:
		return nil, refuse(errdefs.ErrNotFound, "network %s not found", id)
	case e.net == nil:
		return nil, e.err
	}
	e.users[container] = name
	return e.net, nil
}

// Leave ends what Use has begun.
func (s *Store) Leave(id, container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		delete(e.users, container)
	}
}

// Get returns a network that a container uses; nil when there is none.
func (s *Store) Get(id string) *network.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		return e.net
	}
	return nil
}

// InUse says whether a container is in a network.
func (s *Store) InUse(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	return e != nil && len(e.users) > 0
}
