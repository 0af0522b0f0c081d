package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// leaseTime is how long the parts of an interrupted pull wait to be resumed,
// and the longest that any operation can take.
const leaseTime = 48 * time.Hour

// labelFor is the label, on the leases of pulls alone, that says what is pulled.
const labelFor = "abode/for"

// An operation protects, by a lease, what it brings until a record does. It
// pins the blobs and the layers alike: layers by their diff IDs, as if these
// were blobs, which the garbage collection does not mind.
//
// A pull that is interrupted leaves its lease behind, so that a later pull of
// the same thing, which takes the lease over, goes on where it stopped.
type operation struct {
	s     *Store
	lease leases.Lease
}

// activeLeases are the leases of operations under way in this process.
type activeLeases struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (a *activeLeases) set(id string, active bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		a.ids = map[string]bool{}
	}
	if active {
		a.ids[id] = true
	} else {
		delete(a.ids, id)
	}
}

func (a *activeLeases) has(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ids[id]
}

// begin starts an operation. The context it returns puts all content that is
// written with it under the operation's lease. For pulls, what names what is
// pulled. The caller must call end.
func (s *Store) begin(ctx context.Context, kind, what string) (context.Context, *operation, error) {
	id := kind + "-" + rand.Text()
	opts := []leases.Opt{leases.WithID(id), leases.WithExpiration(leaseTime)}
	if what != "" {
		opts = append(opts, leases.WithLabel(labelFor, what))
	}
	// Before it exists, so that nobody takes it for one left behind.
	s.active.set(id, true)
	l, err := s.leases.Create(ctx, opts...)
	if err != nil {
		s.active.set(id, false)
		return nil, nil, fmt.Errorf("cannot take a lease in the image store: %w", err)
	}
	o := &operation{s, l}
	if what != "" {
		if err := o.takeOver(ctx, what); err != nil {
			s.log.Warn("an interrupted pull cannot be resumed", "image", what, "error", err)
		}
	}
	return leases.WithLease(ctx, l.ID), o, nil
}

// takeOver moves to o what interrupted pulls of the same thing have left.
func (o *operation) takeOver(ctx context.Context, what string) error {
	old, err := o.s.idleLeases(ctx)
	if err != nil {
		return err
	}
	old = slices.DeleteFunc(old, func(l leases.Lease) bool { return l.Labels[labelFor] != what })
	if len(old) == 0 { // as it is nearly always
		return nil
	}
	return o.s.db.Update(func(tx *bolt.Tx) error {
		ctx := boltutil.WithTransaction(ctx, tx)
		for _, l := range old {
			resources, err := o.s.leases.ListResources(ctx, l)
			if err != nil {
				return err
			}
			for _, r := range resources {
				if err := o.s.leases.AddResource(ctx, o.lease, r); err != nil {
					return err
				}
			}
			if err := o.s.leases.Delete(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// pin protects blobs and layers, those that exist and those to come. Whether
// one exists is to be asked after this.
func (o *operation) pin(ctx context.Context, digests ...digest.Digest) error {
	o.s.pins.RLock()
	defer o.s.pins.RUnlock()
	err := o.s.db.Update(func(tx *bolt.Tx) error {
		ctx := boltutil.WithTransaction(ctx, tx)
		for _, d := range digests {
			r := leases.Resource{Type: "content", ID: d.String()}
			if err := o.s.leases.AddResource(ctx, o.lease, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot protect the image in the store: %w", err)
	}
	return nil
}

// end ends the operation. With keep, what it brought, if anything, stays for a
// later pull; else all of it goes that no record reaches.
func (o *operation) end(ctx context.Context, keep bool) {
	ctx = o.s.context(context.WithoutCancel(ctx))
	defer o.s.active.set(o.lease.ID, false)
	if keep {
		if r, err := o.s.leases.ListResources(ctx, o.lease); err == nil && len(r) > 0 {
			return
		}
	}
	if err := o.s.drop(ctx, o.lease); err != nil {
		o.s.log.Warn("cannot clean up in the image store; `abode image prune` does it later", "error", err)
	}
}

// drop deletes leases, and what only they protected.
func (s *Store) drop(ctx context.Context, dropped ...leases.Lease) error {
	var pinned []digest.Digest
	for _, l := range dropped {
		ds, err := s.pinned(ctx, l)
		if err != nil {
			return err
		}
		pinned = append(pinned, ds...)
		if err := s.leases.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	_, err := s.sweep(ctx, pinned, nil)
	return err
}

// pinned returns the digests of the blobs and layers under a lease.
func (s *Store) pinned(ctx context.Context, l leases.Lease) ([]digest.Digest, error) {
	resources, err := s.leases.ListResources(ctx, l)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	var ds []digest.Digest
	for _, r := range resources {
		if r.Type == "content" {
			ds = append(ds, digest.Digest(r.ID))
		}
	}
	return ds, nil
}

// idleLeases returns the leases that no operation of this process holds.
func (s *Store) idleLeases(ctx context.Context) ([]leases.Lease, error) {
	all, err := s.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	var idle []leases.Lease
	for _, l := range all {
		if !s.active.has(l.ID) {
			idle = append(idle, l)
		}
	}
	return idle, nil
}

// expired says whether a lease has outlived its time.
func expired(l leases.Lease) bool { return time.Since(l.CreatedAt) > leaseTime }

// recover drops, when the store is opened, all leases but those of pulls that
// can be resumed.
func (s *Store) recover(ctx context.Context) error {
	all, err := s.leases.List(ctx)
	if err != nil {
		return err
	}
	var dead []leases.Lease
	for _, l := range all {
		if l.Labels[labelFor] == "" || expired(l) {
			dead = append(dead, l)
		}
	}
	return s.drop(ctx, dead...)
}
