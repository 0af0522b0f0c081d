// Package volume keeps named volumes: directories that outlive the containers
// they are mounted into.
//
// Below the store's directory each volume is a directory of its own name:
//
//	NAME/volume.json   what is known of it (Volume)
//	NAME/_data         what containers see
//	.new-*, .old-*     a creation or a removal that was cut short; Open clears them
//
// A volume appears and disappears with one rename(2), so that a crash leaves
// it either whole or absent.
package volume

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/state"
)

// AnonymousLabel is on every volume that was created without a name. Its value
// is empty; docker's clients know it by this key.
const AnonymousLabel = "com.docker.volume.anonymous"

const (
	metaFile = "volume.json"
	dataDir  = "_data"
	newGlob  = ".new-"
	oldGlob  = ".old-"
	maxName  = 255 - len(newGlob) // room for the name of a file system entry
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Volume describes one volume. Mountpoint is derived, not stored.
type Volume struct {
	Name       string
	Mountpoint string `json:"-"`
	Labels     map[string]string
	CreatedAt  time.Time
}

// Anonymous tells whether the volume was created without a name.
func (v Volume) Anonymous() bool {
	_, ok := v.Labels[AnonymousLabel]
	return ok
}

// Store holds the volumes of one engine. Its methods may be called concurrently.
type Store struct {
	dir string

	mu      sync.Mutex
	volumes map[string]Volume
}

// Open reads the volumes below dir, which it makes when it is missing, and
// removes what an earlier creation or removal left half done. A directory
// whose description cannot be read makes Open fail: it may hold data.
func Open(dir string) (*Store, error) {
	// The directory shuts out the host's users: a volume may hold set-user-ID
	// files of a container's making.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of volumes: %w", err)
	}
	s := &Store{dir: dir, volumes: map[string]Volume{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list volumes: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, newGlob) || strings.HasPrefix(name, oldGlob) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("cannot remove what is left of a volume: %w", err)
			}
			continue
		}
		if !e.IsDir() || !validName.MatchString(name) {
			continue // not ours, e.g. lost+found's relatives
		}
		v, err := s.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a directory without a description never was a volume
		}
		if err != nil {
			return nil, err
		}
		s.volumes[name] = v
	}
	return s, nil
}

func (s *Store) read(name string) (Volume, error) {
	path := filepath.Join(s.dir, name, metaFile)
	var v Volume
	if err := state.ReadJSON(path, &v); err != nil {
		return Volume{}, fmt.Errorf("cannot read volume %q: %w; restore that file, or move its directory away", name, err)
	}
	v.Name = name
	v.Mountpoint = filepath.Join(s.dir, name, dataDir)
	return v, nil
}

// Create makes a volume, or returns the one that has the name already, as it
// is. An empty name makes an anonymous volume with a name of 64 random
// hexadecimal digits. The volume is on disk when Create returns.
func (s *Store) Create(name string, labels map[string]string) (Volume, error) {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if name == "" {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails (Go 1.24)
		name = hex.EncodeToString(b[:])
		labels[AnonymousLabel] = ""
	}
	if !validName.MatchString(name) || len(name) > maxName {
		return Volume{}, fmt.Errorf("cannot create volume: %q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed; if you meant a host directory, give its absolute path: %w", name, errdefs.ErrInvalidArgument)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.volumes[name]; ok {
		return clone(v), nil
	}
	v := Volume{
		Name:       name,
		Mountpoint: filepath.Join(s.dir, name, dataDir),
		Labels:     labels,
		CreatedAt:  time.Now().UTC().Truncate(time.Second),
	}
	if err := s.write(v); err != nil {
		return Volume{}, fmt.Errorf("cannot create volume %q: %w", name, err)
	}
	s.volumes[name] = v
	return clone(v), nil
}

// Get finds a volume by its name; the error is errdefs.ErrNotFound when there
// is none.
func (s *Store) Get(name string) (Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[name]
	if !ok {
		return Volume{}, notFound(name)
	}
	return clone(v), nil
}

// List returns all volumes, sorted by name.
func (s *Store) List() ([]Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Volume, 0, len(s.volumes))
	for _, name := range slices.Sorted(maps.Keys(s.volumes)) {
		list = append(list, clone(s.volumes[name]))
	}
	return list, nil
}

func clone(v Volume) Volume {
	v.Labels = maps.Clone(v.Labels)
	return v
}

func notFound(name string) error {
	return fmt.Errorf("get %s: no such volume: %w", name, errdefs.ErrNotFound)
}
