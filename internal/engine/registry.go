package engine

import (
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ownerFirst is the first user ID that is given to a container, ownerSize how
// many each gets, and owners how many containers that makes.
const (
	ownerFirst = 524288
	ownerSize  = 65536
	owners     = (1<<31 - ownerFirst) / ownerSize
)

// registry knows all containers by ID and name. Its lock is held for moments.
type registry struct {
	mu     sync.RWMutex
	byID   map[string]*Container
	byName map[string]string // to IDs; a name is here from its reservation on
	owners map[int]string    // to IDs
	// shared are ranges that containers have because they have joined those
	// whose they were, by ID. They are nobody else's after these are gone.
	shared map[string]int
	first  int // the range of user IDs to begin with
	// making holds those that are just being created: they use images and
	// volumes already and are not seen yet.
	making map[string]*Container
}

// newRegistry returns an empty registry. Two engines on one host do not know of
// each other: seed, which tells them apart, makes them give out user IDs from
// different places on.
func newRegistry(seed string) *registry {
	first := int(crc32.ChecksumIEEE([]byte(seed)) % owners)
	return &registry{first: first, byID: map[string]*Container{}, byName: map[string]string{}, owners: map[int]string{}, shared: map[string]int{}, making: map[string]*Container{}}
}

// find returns the container that s names: a full ID, a name with or without
// its slash, or the beginning of one ID.
func (r *registry) find(s string) (*Container, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.byID[s]; c != nil {
		return c, nil
	}
	if c := r.byID[r.byName[strings.TrimPrefix(s, "/")]]; c != nil {
		return c, nil
	}
	var found *Container
	for id, c := range r.byID {
		if s == "" || !strings.HasPrefix(id, s) {
			continue
		}
		if found != nil {
			return nil, invalid("Multiple IDs found with provided prefix: %s", s)
		}
		found = c
	}
	if found == nil {
		return nil, notFound("No such container: %s", s)
	}
	return found, nil
}

// all returns every container, newest first.
func (r *registry) all() []*Container {
	r.mu.RLock()
	list := make([]*Container, 0, len(r.byID))
	for _, c := range r.byID {
		list = append(list, c)
	}
	r.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Container) int {
		// Created never changes.
		return b.created().Compare(a.created())
	})
	return list
}

// reserve takes a name and a range of user IDs for a container to be. An
// empty name means any.
func (r *registry) reserve(id, name string) (string, int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "" {
		for i := 0; name == "" || r.byName[name] != ""; i++ {
			name = randomName(i)
		}
	} else if other := r.byName[name]; other != "" {
		return "", 0, conflict("Conflict. The container name \"/%s\" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", name, other)
	}
	owner, err := r.takeOwner(id)
	if err != nil {
		return "", 0, err
	}
	r.byName[name] = id
	return name, owner, nil
}

// takeOwner gives id a range of user IDs. The caller holds mu.
func (r *registry) takeOwner(id string) (int, error) {
	taken := map[int]bool{}
	for _, owner := range r.shared {
		taken[owner] = true
	}
	for n := range owners {
		owner := ownerFirst + (r.first+n)%owners*ownerSize
		if r.owners[owner] == "" && !taken[owner] {
			r.owners[owner] = id
			return owner, nil
		}
	}
	return 0, conflict("cannot create another container: all %d ranges of user IDs are taken; remove containers that are no longer needed", owners)
}

// lend gives a range of user IDs to what is no container, by an ID of its own.
func (r *registry) lend(id string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeOwner(id)
}

// exchange gives a container the range that was lent instead of its own.
func (r *registry) exchange(id string, own, lent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owners, own)
	r.owners[lent] = id
}

// share keeps a range for a container that has it of another, until it is
// forgotten or has another.
func (r *registry) share(id string, owner int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared[id] = owner
}

// rename moves a container to another name.
func (r *registry) rename(id, from, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.byName[to]; other != "" {
		return conflict("Conflict. The container name \"/%s\" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", to, other)
	}
	r.byName[to] = id
	delete(r.byName, from)
	return nil
}

// make takes in a container whose creation begins.
func (r *registry) make(c *Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.making[c.id] = c
}

// add makes a container seen whose creation has ended.
func (r *registry) add(c *Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.making, c.id)
	r.byID[c.id] = c
}

// users returns all and those that are just being created, in no order.
func (r *registry) users() []*Container {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*Container, 0, len(r.byID)+len(r.making))
	for _, of := range []map[string]*Container{r.byID, r.making} {
		for _, c := range of {
			list = append(list, c)
		}
	}
	return list
}

// hide takes a container out of sight, and gives its name up.
func (r *registry) hide(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hideLocked(id)
}

func (r *registry) hideLocked(id string) {
	delete(r.byID, id)
	delete(r.making, id)
	maps.DeleteFunc(r.byName, func(_, of string) bool { return of == id })
}

// forget gives up a container's or a reservation's ID, name and user IDs.
func (r *registry) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hideLocked(id)
	delete(r.shared, id)
	maps.DeleteFunc(r.owners, func(_ int, of string) bool { return of == id })
}

// adopt takes in a container that was found on disk.
func (r *registry) adopt(c *Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[c.id] = c
	r.byName[c.rec.Name] = c.id
	r.owners[c.rec.Owner] = c.id
	if c.st.Owner != 0 {
		r.shared[c.id] = c.st.Owner
	}
}
