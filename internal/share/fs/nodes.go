package fs

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// rootID is the node that FUSE begins with.
const rootID = 1

// maxDepth bounds how far a node is sought below one that is open.
const maxDepth = 1024

// A node is a file that the guest knows. It is open with O_PATH, or was and
// can be opened again by its name below its parent.
type node struct {
	id      uint64
	key     key
	parent  *node // nil for the root; where the guest last saw it
	name    string
	lookups uint64 // the guest's references
	pins    int    // requests under way
	fd      int    // -1: closed to make room
	sticky  bool   // its name is gone: it must stay open
	idle    *list.Element
}

// nodes is the table of files that the guest knows. It is safe for concurrent use.
type nodes struct {
	limit int // open nodes; more than it only as far as requests need them

	mu    sync.Mutex
	byID  map[uint64]*node
	byKey map[key]*node
	idle  list.List // of open nodes that could be closed; the latest first
	open  int
	next  uint64
}

func newNodes(rootFD int, rootKey key, limit int) *nodes {
	root := &node{id: rootID, key: rootKey, fd: rootFD, lookups: 1, sticky: true}
	return &nodes{
		limit: limit,
		byID:  map[uint64]*node{rootID: root},
		byKey: map[key]*node{rootKey: root},
		open:  1,
		next:  rootID + 1,
	}
}

// pin finds a node and keeps it open until unpin.
func (t *nodes) pin(id uint64) (*node, error) {
	t.mu.Lock()
	n := t.byID[id]
	if n == nil {
		t.mu.Unlock()
		return nil, unix.ESTALE
	}
	t.hold(n)
	if n.fd >= 0 {
		t.mu.Unlock()
		return n, nil
	}
	var names []string
	above := n
	for above.fd < 0 {
		if above.parent == nil || len(names) == maxDepth {
			t.mu.Unlock()
			t.unpin(n)
			return nil, unix.ESTALE
		}
		names = append(names, above.name)
		above = above.parent
	}
	t.hold(above)
	t.mu.Unlock()
	defer t.unpin(above)

	fd, err := reopen(above.fd, names, n.key)
	if err != nil {
		t.unpin(n)
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.fd >= 0 { // another request was faster
		closeFD(fd)
	} else {
		n.fd = fd
		t.open++
	}
	return n, nil
}

// reopen walks down names, the last one first, to the file with a key.
func reopen(fd int, names []string, want key) (int, error) {
	at := fd
	for i := len(names) - 1; i >= 0; i-- {
		next, err := openPath(at, names[i])
		if at != fd {
			closeFD(at)
		}
		if err != nil {
			return -1, unix.ESTALE
		}
		at = next
	}
	st, err := stat(at)
	if err != nil || keyOf(&st) != want {
		closeFD(at)
		return -1, unix.ESTALE
	}
	return at, nil
}

// openPath opens a component without following it if it is a link.
func openPath(dir int, name string) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// hold pins a node. The caller has the lock.
func (t *nodes) hold(n *node) {
	n.pins++
	if n.idle != nil {
		t.idle.Remove(n.idle)
		n.idle = nil
	}
}

func (t *nodes) unpin(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.pins--
	t.settle(n)
}

// settle puts a node that no request uses where it belongs. The caller has the lock.
func (t *nodes) settle(n *node) {
	if n.pins > 0 {
		return
	}
	if n.lookups == 0 {
		if t.byID[n.id] == n {
			delete(t.byID, n.id)
			if t.byKey[n.key] == n {
				delete(t.byKey, n.key)
			}
		}
		t.close(n)
		return
	}
	if n.fd >= 0 && !n.sticky && n.idle == nil {
		n.idle = t.idle.PushFront(n)
	}
	for t.open > t.limit && t.idle.Len() > 0 {
		t.close(t.idle.Back().Value.(*node))
	}
}

func (t *nodes) close(n *node) {
	if n.idle != nil {
		t.idle.Remove(n.idle)
		n.idle = nil
	}
	if n.fd >= 0 {
		closeFD(n.fd)
		n.fd = -1
		t.open--
	}
}

// enter gives the guest a reference to a file that was found as name below
// parent, and returns its node, pinned. The descriptor is the table's from now on.
func (t *nodes) enter(parent *node, name string, fd int, k key) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byKey[k]
	if n == nil {
		n = &node{id: t.next, key: k, fd: fd}
		t.next++
		t.open++
		t.byID[n.id] = n
		t.byKey[k] = n
	} else if n.fd < 0 {
		n.fd = fd
		t.open++
	} else {
		closeFD(fd)
	}
	if n.id != rootID {
		n.parent, n.name = parent, name
		n.sticky = false
	}
	n.lookups++
	t.hold(n)
	return n
}

// forget drops references of the guest.
func (t *nodes) forget(id, count uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || id == rootID {
		return
	}
	n.lookups -= min(n.lookups, count)
	t.settle(n)
}

// closeAll closes what is left, when no request is under way any more.
func (t *nodes) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.byID {
		t.close(n)
	}
	clear(t.byID)
	clear(t.byKey)
}
