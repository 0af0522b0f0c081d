package image

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An entry is one image as the records show it.
type entry struct {
	id      digest.Digest
	target  ocispec.Descriptor // of the record of the image itself
	tags    []reference.NamedTagged
	digests []reference.Canonical
	tagged  time.Time // when it was given a tag last
	kept    bool
}

// names returns the record names of all tags and digests of e.
func (e *entry) names() []string {
	var names []string
	for _, t := range e.tags {
		names = append(names, t.String())
	}
	for _, d := range e.digests {
		names = append(names, d.String())
	}
	return names
}

// repositories returns the names of the repositories that e is known in.
func (e *entry) repositories() []string {
	var names []string
	for _, t := range e.tags {
		names = append(names, t.Name())
	}
	for _, d := range e.digests {
		names = append(names, d.Name())
	}
	return unique(names)
}

// A catalog is all records at one moment. It does not change.
type catalog struct {
	entries map[digest.Digest]*entry // the images that exist
	kept    map[digest.Digest]*entry
	names   map[string]named // tags and digests
}

// named is what a tag or digest stands for.
type named struct {
	id     digest.Digest
	target ocispec.Descriptor
}

// catalogCache holds the catalog until a record changes: looking up an image is
// part of every start of a container.
type catalogCache struct {
	mu      sync.Mutex
	current *catalog
	changes int
}

func (c *catalogCache) get() (current *catalog, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.changes
}

// put keeps a catalog that was read when there had been that many changes.
func (c *catalogCache) put(current *catalog, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes {
		c.current = current
	}
}

func (c *catalogCache) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.changes = nil, c.changes+1
}

// catalog returns the records as they are now.
func (s *Store) catalog(ctx context.Context) (*catalog, error) {
	c, changes := s.records.get()
	if c != nil {
		return c, nil
	}
	c, err := s.readCatalog(ctx)
	if err == nil {
		s.records.put(c, changes)
	}
	return c, err
}

// readCatalog reads the records. One that cannot be read is logged and left
// out, so that it does not keep the others from use.
func (s *Store) readCatalog(ctx context.Context) (*catalog, error) {
	records, err := s.images.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the images: %w", err)
	}
	c := &catalog{
		entries: map[digest.Digest]*entry{},
		kept:    map[digest.Digest]*entry{},
		names:   map[string]named{},
	}
	for _, r := range records {
		id, kept := strings.CutPrefix(r.Name, keptPrefix)
		d := digest.Digest(id)
		if d.Validate() != nil {
			continue
		}
		if e := (&entry{id: d, target: r.Target, kept: kept}); kept {
			c.kept[d] = e
		} else {
			c.entries[d] = e
		}
	}
	for _, r := range records {
		ref, err := reference.ParseNamed(r.Name)
		if err != nil {
			continue // not the name of a repository: one of those above
		}
		p, err := s.load(ctx, r.Target)
		if err != nil {
			s.log.Warn("a name leads to an image that cannot be read", "name", r.Name, "error", err)
			continue
		}
		e := c.entries[p.id]
		if e == nil {
			continue
		}
		c.names[r.Name] = named{p.id, r.Target}
		switch ref := ref.(type) {
		case reference.Canonical:
			e.digests = append(e.digests, ref)
		case reference.NamedTagged:
			e.tags = append(e.tags, ref)
			if r.UpdatedAt.After(e.tagged) {
				e.tagged = r.UpdatedAt
			}
		}
	}
	return c, nil
}
