package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	bolt "go.etcd.io/bbolt"
	errbolt "go.etcd.io/bbolt/errors"

	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/layer"
)

// DefaultHostsDir is where hosts.toml files are looked for when Config names
// no other directory.
const DefaultHostsDir = "/etc/abode/hosts.d"

// namespace is the one of containerd's namespaces that holds everything.
const namespace = "abode"

// Config says where a Store keeps its data and what it works with.
type Config struct {
	// Dir holds the metadata and the content. It is created.
	Dir string
	// Layers keeps the unpacked layers. The image store removes from it the
	// layers that its images have brought and no longer use.
	Layers *layer.Store
	// HostsDir has a directory for each registry, HOST or HOST_PORT_, with a
	// hosts.toml (mirrors, own CAs) in containerd's format, or Docker's
	// certificate files. Empty: DefaultHostsDir.
	HostsDir string
	// Running tells whether the container of that name, one that an inUse
	// callback has returned, is running: its image cannot be removed by force
	// either. Nil: none is.
	Running func(container string) bool
	// Log may be nil.
	Log *slog.Logger
}

// Store keeps images. Its methods may be called concurrently. Errors wrap the
// sentinels of containerd/errdefs.
type Store struct {
	layers   *layer.Store
	hostsDir string
	running  func(string) bool
	log      *slog.Logger

	bolt    *bolt.DB
	db      *metadata.DB
	content content.Store
	images  images.Store
	leases  leases.Manager

	// backoff is the first pause between two attempts at a blob, stall the
	// longest silence of a registry.
	backoff, stall time.Duration

	// mu is held while records change.
	mu sync.Mutex
	// pins is held shared while a lease pins layers, and exclusively while
	// layers that nothing pins are removed.
	pins sync.RWMutex

	records catalogCache
	parsed  parsedCache
	blobs   keyLocks
	active  activeLeases
}

// Open opens the store in cfg.Dir, which one process at a time can do. What a
// crash left half done is cleaned, except for downloads that can be resumed
// within leaseTime.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		layers:   cfg.Layers,
		hostsDir: cfg.HostsDir,
		running:  cfg.Running,
		log:      cfg.Log,
		backoff:  250 * time.Millisecond,
		stall:    time.Minute,
	}
	if s.hostsDir == "" {
		s.hostsDir = DefaultHostsDir
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	setGlobals()
	var cu cleanup.Stack
	defer cu.Clean()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the image store: %w", err)
	}
	blobs, err := local.NewStore(filepath.Join(cfg.Dir, "content"))
	if err != nil {
		return nil, fmt.Errorf("cannot open the image store's content: %w", err)
	}
	file := filepath.Join(cfg.Dir, "meta.db")
	s.bolt, err = bolt.Open(file, 0o600, &bolt.Options{Timeout: 2 * time.Second, NoFreelistSync: true})
	if err != nil {
		if errors.Is(err, errbolt.ErrTimeout) {
			err = fmt.Errorf("another engine has it open; end that or choose another root directory: %w", errdefs.ErrUnavailable)
		}
		return nil, fmt.Errorf("cannot open %s: %w", file, err)
	}
	cu.Add(func() { s.bolt.Close() })
	if err := prepareContent(filepath.Join(cfg.Dir, "content")); err != nil {
		return nil, fmt.Errorf("cannot open the image store's content: %w", err)
	}
	s.db = metadata.NewDB(s.bolt, blobs, nil)
	ctx = s.context(ctx)
	if err := s.db.Init(ctx); err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", file, err)
	}
	s.content = s.db.ContentStore()
	s.images = metadata.NewImageStore(s.db)
	s.leases = metadata.NewLeaseManager(s.db)
	if err := s.recover(ctx); err != nil {
		return nil, fmt.Errorf("cannot clean the image store after a crash: %w", err)
	}
	cu.Release()
	return s, nil
}

// Close ends the use of the store. Calls in progress fail.
func (s *Store) Close() error { return s.db.Close() }

// context adds to ctx what containerd's libraries ask of it.
func (s *Store) context(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, namespace), libraryLogger(s.log))
}
