package engine

import (
	"sync"
	"time"
)

// execTable finds executions by their IDs.
type execTable struct {
	mu   sync.Mutex
	byID map[string]*execution
}

// execKept is how long one that has ended can be inspected, or one that was
// never begun can be started.
const execKept = 5 * time.Minute

func (t *execTable) add(x *execution) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = map[string]*execution{}
	}
	for id, old := range t.byID {
		old.mu.Lock()
		stale := !old.running && time.Since(old.ended) > execKept
		old.mu.Unlock()
		if stale {
			delete(t.byID, id)
		}
	}
	t.byID[x.id] = x
}

func (t *execTable) find(id string) (*execution, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.byID[id]; x != nil {
		return x, nil
	}
	return nil, notFound("No such exec instance: %s", id)
}

// of returns a container's executions.
func (t *execTable) of(c *Container) []*execution {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*execution
	for _, x := range t.byID {
		if x.c == c {
			list = append(list, x)
		}
	}
	return list
}

// drop forgets one that nobody can ask for any more.
func (t *execTable) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

// forget drops the executions of a container that is gone.
func (t *execTable) forget(containerID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, x := range t.byID {
		if x.c.id == containerID {
			delete(t.byID, id)
		}
	}
}
