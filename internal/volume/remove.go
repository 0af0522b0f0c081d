package volume

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// UsedBy names the containers that use a volume. The store calls it while no
// volume can be created, found or removed, so it must not call the store. A
// caller who records a use before it asks Create or Get for the volume can
// then rely on it.
type UsedBy func(name string) []string

// Remove deletes a volume with all that is in it. It fails with
// errdefs.ErrConflict while usedBy, which may be nil, names a container, and
// with errdefs.ErrNotFound when there is no such volume. When Remove fails
// half-way, the volume is gone from the store nevertheless and Open clears
// away its remains.
func (s *Store) Remove(name string, usedBy UsedBy) error {
	old, err := s.detach(name, usedBy)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("cannot remove all files of volume %q, look for immutable ones (lsattr -R %s): %w", name, old, err)
	}
	return nil
}

func (s *Store) detach(name string, usedBy UsedBy) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.volumes[name]; !ok {
		return "", notFound(name)
	}
	if usedBy != nil {
		if users := usedBy(name); len(users) > 0 {
			return "", fmt.Errorf("remove %s: volume is in use - [%s]; remove those containers first: %w", name, strings.Join(users, ", "), errdefs.ErrConflict)
		}
	}
	old, err := s.take(name)
	if err != nil {
		return "", fmt.Errorf("cannot remove volume %q: %w", name, err)
	}
	delete(s.volumes, name)
	return old, nil
}

// Prune removes every volume that choose accepts and usedBy knows no user of.
// It returns their names and the bytes that were freed, also when it failed on
// some of them. choose must not call the store; nil accepts anonymous volumes
// alone, as `docker volume prune` does.
func (s *Store) Prune(choose func(Volume) bool, usedBy UsedBy) (removed []string, reclaimed int64, err error) {
	if choose == nil {
		choose = Volume.Anonymous
	}
	s.mu.Lock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.volumes)) {
		if choose(clone(s.volumes[name])) && (usedBy == nil || len(usedBy(name)) == 0) {
			names = append(names, name)
		}
	}
	s.mu.Unlock()

	var failed []string
	for _, name := range names {
		// Between the list and now a container may have come to use it.
		old, derr := s.detach(name, usedBy)
		if errdefs.IsNotFound(derr) || errdefs.IsConflict(derr) {
			continue
		}
		if derr != nil {
			failed = append(failed, derr.Error())
			continue
		}
		data := filepath.Join(old, name, dataDir)
		n, _ := usage(data)
		removed = append(removed, name)
		if rerr := os.RemoveAll(old); rerr != nil {
			failed = append(failed, rerr.Error())
			left, _ := usage(data)
			n -= left
		}
		reclaimed += n
	}
	if len(failed) > 0 {
		return removed, reclaimed, fmt.Errorf("cannot prune all volumes: %s", strings.Join(failed, "; "))
	}
	return removed, reclaimed, nil
}
