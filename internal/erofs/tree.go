package erofs

import (
	"fmt"
	"strings"
	"time"
)

// A node is a file of the tree by one of its names; hard links are several
// names of one node.
type node struct {
	kind uint8
	// whiteout marks what hides a lower layer's file. A node of its own stands
	// for all of them; it is written at the end.
	whiteout bool
	nlink    uint32 // how many names it has
	nid      uint64 // where it was written; of a directory, where it will be
	dir      *directory
}

// A directory is what is kept of one until all its entries are known.
type directory struct {
	perm     uint16
	uid, gid uint32
	mtime    time.Time
	attrs    map[string]string
	opaque   bool // hides what lower layers have in it
	entries  map[string]*node
}

// A tree holds the names that have been read so far.
type tree struct {
	root     *node
	whiteout *node // of all whiteouts
	linked   []*node
	count    int // nodes that have a name
	memory   int // about what names and directories take
	limit    int // of memory
}

// What a name and a directory take in memory, beside the bytes of the name.
const (
	nameCost      = 120
	directoryCost = 400
)

// newTree returns the tree of an empty archive, which may grow to limit bytes.
func newTree(limit int) *tree {
	t := &tree{limit: limit, whiteout: &node{kind: typeChar, whiteout: true}}
	t.root = newDirectory()
	t.root.nlink = 1
	t.count = 1
	return t
}

// newDirectory is one that no entry describes: 0755, root's, of 1970.
func newDirectory() *node {
	return &node{kind: typeDirectory, dir: &directory{perm: 0o755, mtime: time.Unix(0, 0), entries: map[string]*node{}}}
}

// lookup finds a clean path without following symlinks; nil when it is not in
// the tree.
func (t *tree) lookup(path string) *node {
	n := t.root
	for part := range strings.SplitSeq(path, "/") {
		if part == "" { // the root
			continue
		}
		if n == nil || n.dir == nil {
			return nil
		}
		n = n.dir.entries[part]
	}
	return n
}

// directory finds or makes the directory at a clean path. What is in the way
// gives way: later entries win over earlier ones.
func (t *tree) directory(path string) (*directory, error) {
	d := t.root.dir
	if path == "" {
		return d, nil
	}
	for part := range strings.SplitSeq(path, "/") {
		n, err := t.subdirectory(d, part)
		if err != nil {
			return nil, err
		}
		d = n
	}
	return d, nil
}

// subdirectory finds or makes the directory of that name in d.
func (t *tree) subdirectory(d *directory, name string) (*directory, error) {
	old := d.entries[name]
	if old != nil && old.dir != nil {
		return old.dir, nil
	}
	n := newDirectory()
	// A directory in place of one that the same layer has removed does not
	// show what lower layers have there.
	n.dir.opaque = old != nil && old.whiteout
	if err := t.spend(directoryCost); err != nil {
		return nil, err
	}
	return n.dir, t.put(d, name, n)
}

// put gives n the name in d, in place of what had it.
func (t *tree) put(d *directory, name string, n *node) error {
	old, ok := d.entries[name]
	if old == n {
		return nil
	}
	if !ok {
		if err := t.spend(nameCost + len(name)); err != nil {
			return err
		}
		// A copy, for name is part of its whole header.
		name = strings.Clone(name)
	}
	if n.nlink == 0 {
		t.count++
	}
	n.nlink++
	d.entries[name] = n
	if ok {
		t.drop(old)
	}
	return nil
}

// hide places a whiteout. What the same layer has under the name stays, as
// whiteouts hide only what is in lower layers.
func (t *tree) hide(d *directory, name string) error {
	switch old := d.entries[name]; {
	case old == nil:
		return t.put(d, name, t.whiteout)
	case old.dir != nil:
		old.dir.opaque = true
	}
	return nil
}

// drop takes one name from n, and with its last name all that is below it.
func (t *tree) drop(n *node) {
	n.nlink--
	if n.nlink > 0 {
		return
	}
	t.count--
	if n.dir != nil {
		for _, child := range n.dir.entries {
			t.drop(child)
		}
	}
}

// spend counts memory against the limit.
func (t *tree) spend(n int) error {
	t.memory += n
	if t.memory > t.limit {
		return fmt.Errorf("%w: the names and directories of the archive take more than %d bytes", ErrLimit, t.limit)
	}
	return nil
}
