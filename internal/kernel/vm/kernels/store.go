// Package kernels keeps the kernels that guests boot: a distribution's own,
// each as its vmlinuz and its modules, extracted from a package and never
// installed into the host's boot.
//
// A store is a directory:
//
//	NAME/vmlinuz        a Linux/x86 bzImage
//	NAME/modules/X.ko   modules by name, not compressed, no tree
//	NAME/meta.json      what List tells
//	default             the name that Use chose
//
// A kernel appears whole or not at all, by a rename. The host's own kernel is
// listed as "host" when it lies in /boot with its modules.
package kernels

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// InstallCommand is what a user runs to get a guest kernel.
const InstallCommand = "abode kernel install"

// HostName is the name of the kernel that the host itself runs.
const HostName = "host"

// A Kernel is one that a guest can boot.
type Kernel struct {
	Name    string
	Release string // uname -r
	Source  string // where it came from, for people
	Added   time.Time
	Size    int64  // bytes on disk; 0 for the host's
	Image   string // path of the vmlinuz
	Modules string // directory that holds *.ko files, at any depth
	SHA256  string // of the vmlinuz and, by their names and sizes, the modules
	Default bool   // what a guest boots unless told otherwise
}

// Store is a directory of kernels. Its methods may be called concurrently.
type Store struct {
	dir  string
	boot string // "/boot", or a test's
	lib  string // "/lib/modules", or a test's
	log  *slog.Logger
	mu   sync.Mutex // one change at a time
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// Open makes dir when needed and removes what an interrupted import left.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the kernel store: %w", err)
	}
	stale, _ := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	for _, d := range stale {
		// Another engine's import may be under way in a shared directory.
		if fi, err := os.Stat(d); err == nil && time.Since(fi.ModTime()) > time.Hour {
			os.RemoveAll(d)
		}
	}
	return &Store{dir: dir, boot: "/boot", lib: "/lib/modules", log: log}, nil
}

// List returns all kernels, sorted by name.
func (s *Store) List() ([]Kernel, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel store: %w", err)
	}
	var list []Kernel
	for _, e := range entries {
		if !e.IsDir() || !nameRE.MatchString(e.Name()) {
			continue
		}
		k, err := s.read(e.Name())
		if err != nil {
			s.log.Warn("a guest kernel cannot be used", "name", e.Name(), "err", err)
			continue
		}
		list = append(list, k)
	}
	if k, err := s.host(); err == nil {
		list = append(list, k)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	if d := s.defaultIndex(list); d >= 0 {
		list[d].Default = true
	}
	return list, nil
}

// defaultIndex is the one that Use chose while it is there, else the newest
// import, else the host's, else -1.
func (s *Store) defaultIndex(list []Kernel) int {
	chosen, _ := os.ReadFile(filepath.Join(s.dir, "default"))
	best := -1
	for i, k := range list {
		if k.Name == strings.TrimSpace(string(chosen)) {
			return i
		}
		if best < 0 || k.Added.After(list[best].Added) {
			best = i
		}
	}
	return best
}

// Get returns the named kernel, or for "" the default. Without any kernel its
// error names the command that gets one.
func (s *Store) Get(name string) (Kernel, error) {
	list, err := s.List()
	if err != nil {
		return Kernel{}, err
	}
	for _, k := range list {
		if k.Name == name || name == "" && k.Default {
			return k, nil
		}
	}
	if len(list) == 0 {
		return Kernel{}, fmt.Errorf("no guest kernel is installed: run %q: %w", InstallCommand, errdefs.ErrFailedPrecondition)
	}
	return Kernel{}, fmt.Errorf("no guest kernel is named %q: %q lists them: %w", name, "abode kernel ls", errdefs.ErrNotFound)
}

// Use makes the named kernel the default.
func (s *Store) Use(name string) error {
	if name == "" {
		return fmt.Errorf("cannot use a kernel without a name: %w", errdefs.ErrInvalidArgument)
	}
	if _, err := s.Get(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tmp := filepath.Join(s.dir, ".default.new")
	if err := os.WriteFile(tmp, []byte(name+"\n"), 0o600); err != nil {
		return fmt.Errorf("cannot record the default kernel: %w", err)
	}
	return os.Rename(tmp, filepath.Join(s.dir, "default"))
}

// Remove deletes a kernel. Guests that run it are not disturbed; templates
// made from it are no longer used and age out.
func (s *Store) Remove(name string) error {
	if name == HostName {
		return fmt.Errorf("cannot remove the host's own kernel: %w", errdefs.ErrInvalidArgument)
	}
	if !nameRE.MatchString(name) {
		return fmt.Errorf("%q cannot be a kernel's name: %w", name, errdefs.ErrInvalidArgument)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := filepath.Join(s.dir, ".tmp-removed-"+name)
	os.RemoveAll(gone)
	if err := os.Rename(filepath.Join(s.dir, name), gone); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no guest kernel is named %q: %w", name, errdefs.ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("cannot remove kernel %q: %w", name, err)
	}
	return os.RemoveAll(gone)
}

func (s *Store) read(name string) (Kernel, error) {
	dir := filepath.Join(s.dir, name)
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return Kernel{}, err
	}
	var k Kernel
	if err := json.Unmarshal(b, &k); err != nil {
		return Kernel{}, fmt.Errorf("cannot read %s/meta.json: %w", name, err)
	}
	k.Name, k.Default = name, false
	k.Image, k.Modules = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "modules")
	if _, err := os.Stat(k.Image); err != nil {
		return Kernel{}, err
	}
	return k, nil
}
