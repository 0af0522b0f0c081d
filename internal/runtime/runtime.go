// Package runtime creates, watches and ends containers on the kernel that it
// runs on: namespaces, mounts, cgroups, capabilities, seccomp, streams. The
// agent alone uses it.
//
// A container's first process and every process that is executed in one later
// are children of the agent: forked from a thread that lives as long as the
// agent, executed from a sealed copy of the agent in memory as a stage that
// finishes what only a process inside can do, and that then becomes the
// workload. All of a container's state is in memory and in the kernel; when
// the agent is killed, the kernel ends the containers (PR_SET_PDEATHSIG, and
// PID namespaces) and drops the mounts (a mount namespace of the agent's own).
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/share/guest"
)

// Config says where a Runtime works.
type Config struct {
	// Dir is the runtime's own directory: mount points, small files. What an
	// earlier runtime left in it is removed.
	Dir string
	Log *slog.Logger
	// CgroupParent is the path below each hierarchy's root in which containers
	// get their cgroups. It is no other runtime's.
	CgroupParent string
	// Ahead is how many containers' first processes are kept ready.
	Ahead int
	// HostMounts is the mount namespace in which the sources of bind mounts
	// are looked up; nil: this process's own. Mounts that are made on a host
	// later reach the agent's namespace only where the host's are shared.
	HostMounts *os.File
	// Share asks the host, in a guest, for a stream that serves a share. nil: there are none.
	Share func(ctx context.Context, tag string) (*guest.Share, error)
}

// Runtime holds the containers of one kernel. Its methods may be called
// concurrently. Errors that a caller can act upon are *agent.Error.
type Runtime struct {
	cfg     Config
	log     *slog.Logger
	layers  *layers
	spawner *spawner
	cgroups *hierarchies
	blanks  blanks

	mu         sync.Mutex
	containers map[string]*container
	closed     bool
}

// New prepares dir and returns a runtime without containers. It must be called
// once in a process, which must be root of its user namespace and, on a host,
// have a mount namespace of its own.
func New(cfg Config) (*Runtime, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !filepath.IsLocal(cfg.CgroupParent) {
		return nil, fmt.Errorf("%q is no name of a cgroup", cfg.CgroupParent)
	}
	// Forks of this process are visible to a container before they execute
	// anything; nobody in there may look into them.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot protect the agent's memory: %w", err)
	}
	r := &Runtime{cfg: cfg, log: cfg.Log, containers: map[string]*container{}}
	for _, sub := range []string{"layers", "containers"} {
		dir := filepath.Join(cfg.Dir, sub)
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("cannot remove what an earlier agent left: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the agent's directory: %w", err)
		}
	}
	r.layers = newLayers(filepath.Join(cfg.Dir, "layers"))
	var err error
	if r.cgroups, err = findHierarchies(); err != nil {
		return nil, err
	}
	if r.spawner, err = newSpawner(); err != nil {
		return nil, err
	}
	if os.Getpid() == 1 {
		go r.reapOrphans()
	}
	go r.refill()
	return r, nil
}

// CgroupVersion is 1 or 2: where the controllers are.
func (r *Runtime) CgroupVersion() int { return r.cgroups.version() }

// Warnings says in plain words what this kernel or its privileges do not allow.
func (r *Runtime) Warnings() []string {
	w := append([]string(nil), r.cgroups.warnings...)
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if unix.Capget(&head, &caps[0]) == nil && caps[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		w = append(w, "the agent lacks CAP_SYS_RESOURCE: resource limits cannot be raised and out-of-memory scores cannot be lowered")
	}
	return w
}

var errNoContainer = errors.New("no such container")

// get returns a container that was created completely.
func (r *Runtime) get(id string) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil || !c.created {
		return nil, errorf(agent.ClassNoContainer, "%w: %s", errNoContainer, id)
	}
	return c, nil
}

func (r *Runtime) process(id, execID string) (*process, error) {
	c, err := r.get(id)
	if err != nil {
		return nil, err
	}
	return c.process(execID)
}

// List lists all containers by ID.
func (r *Runtime) List() agent.ListResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []agent.Container{}
	for _, c := range r.containers {
		if c.created {
			list = append(list, c.describe())
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return agent.ListResponse{Containers: list}
}

// Close ends and deletes every container. New ones are refused from then on.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	var ids []string
	for id := range r.containers {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		wg.Go(func() { errs[i] = r.Delete(ctx, id) })
	}
	errs = append(errs, r.dropBlanks(ctx))
	wg.Wait()
	return errors.Join(errs...)
}

// validID admits what is a file name, a cgroup name and nothing else.
func validID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i, c := range []byte(id) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}
