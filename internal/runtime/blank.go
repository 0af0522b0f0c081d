package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// A blank is a container's first process before anybody knows which container
// it becomes: in a cgroup and in namespaces of its own, it waits for its
// configuration. Behind it is what costs most of a start and depends on nothing
// that the caller chooses: the start of a Go program, and the kernel's grace
// periods when a process changes its cgroup and an interface its namespace.
type blank struct {
	name   string
	nic    string // the interface that waits in its network namespace
	pid    int
	ctl    *control
	cgroup *cgroup
	base   *foundation // nil: not known yet
}

// commonFlags are the namespaces of a container for which nothing was asked.
const commonFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// refillDelay keeps the making of the next out of the way of the start that
// has taken the last.
const refillDelay = 50 * time.Millisecond

// newBlank makes one, in new namespaces and in those of joins, and with a
// cgroup called name.
func (r *Runtime) newBlank(name string, flags int, joins []join) (*blank, error) {
	b := &blank{name: name}
	var err error
	if b.cgroup, err = r.cgroups.create(filepath.Join(r.cfg.CgroupParent, name)); err != nil {
		return nil, err
	}
	joined := 0
	for _, j := range joins {
		joined |= j.flags
	}
	b.pid, b.ctl, err = r.spawner.start(spawn{
		stage: stageInit,
		// The cgroup namespace is made later, inside the cgroup.
		flags: uintptr(flags &^ unix.CLONE_NEWCGROUP), joins: joins,
		// Its users are mapped later too, and it becomes one of them then.
		keepCaps: (flags|joined)&unix.CLONE_NEWUSER != 0,
		cgroup:   b.cgroup,
	})
	if err != nil {
		return nil, errors.Join(err, b.cgroup.remove(context.Background()))
	}
	owned.add(b.pid)
	return b, nil
}

// drop ends a blank and leaves nothing of it. Its interface goes with it.
func (b *blank) drop(ctx context.Context) error {
	b.end()
	var err error
	if b.base != nil {
		err = errors.Join(b.base.close(), b.base.vacant(ctx))
	}
	return errors.Join(err, b.cgroup.remove(ctx))
}

// end ends the process alone.
func (b *blank) end() {
	b.ctl.Close()
	unix.Kill(b.pid, unix.SIGKILL)
	reap(b.pid)
	owned.remove(b.pid)
}

func (b *blank) alive() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, b.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == 0
}

// blanks are those that were made ahead.
type blanks struct {
	mu      sync.Mutex
	ready   []*blank
	closed  bool
	filling sync.Mutex
}

// refill makes as many blanks without an interface as Config.Ahead wants.
func (r *Runtime) refill() {
	if !r.blanks.filling.TryLock() {
		return // the one at work sees what is missing now too
	}
	defer r.blanks.filling.Unlock()
	for r.missing() {
		if _, err := r.Prepare(context.Background(), &agent.PrepareRequest{}); err != nil {
			r.log.Warn("containers start slower", "error", err)
			return
		}
	}
}

func (r *Runtime) missing() bool {
	r.blanks.mu.Lock()
	defer r.blanks.mu.Unlock()
	have := 0
	for _, b := range r.blanks.ready {
		if b.nic == "" {
			have++
		}
	}
	return !r.blanks.closed && have < r.cfg.Ahead
}

// Prepare makes a container's first process ahead, and returns its PID: a
// Create whose container has all namespaces of its own, and req.NIC or (if it
// is empty) no interface in them, takes it. The interface leaves this kernel's
// own network namespace at once, unless it comes later, and ends with the
// process.
func (r *Runtime) Prepare(ctx context.Context, req *agent.PrepareRequest) (int, error) {
	b, err := r.blankFor(ctx, req)
	if err == nil && req.Foundation != nil {
		if b.base, err = r.survey(b, commonFlags, false, *req.Foundation); err == nil {
			if err = r.lay(b, b.base, r.cgroups.views, b.nic, -1); err == nil && b.nic != "" {
				err = b.settled()
			}
		}
		if err != nil {
			err = errors.Join(err, b.drop(ctx))
		}
	}
	if err != nil {
		return 0, fmt.Errorf("cannot prepare a container: %w", err)
	}
	r.blanks.mu.Lock()
	closed := r.blanks.closed
	if !closed {
		r.blanks.ready = append(r.blanks.ready, b)
	}
	r.blanks.mu.Unlock()
	if closed {
		return 0, errors.Join(errorf(agent.ClassConflict, "the agent is shutting down"), b.drop(ctx))
	}
	return b.pid, nil
}

// settled waits until a foundation that was laid ahead stands, and is on the disk.
func (b *blank) settled() error {
	var reply stageReply
	fds, err := b.ctl.receive(&reply)
	closeAll(fds)
	switch {
	case err != nil:
		return fmt.Errorf("the first process has ended: %w", err)
	case reply.Error != nil:
		return reply.Error
	}
	return b.base.sync()
}

// blankFor returns one without a foundation that has the wanted interface: that
// which has it already, one that waited without, or a new one.
func (r *Runtime) blankFor(ctx context.Context, req *agent.PrepareRequest) (b *blank, err error) {
	if req.NIC != "" {
		if b = r.withdraw(req.NIC); b != nil && b.base == nil {
			return b, nil
		}
		again := b != nil
		if again {
			if err := r.giveUp(ctx, b); err != nil {
				return nil, err
			}
		}
		if b = nil; again || req.Comes {
			b = r.use(r.withdraw(""))
		}
	}
	if b == nil {
		id := make([]byte, 8)
		rand.Read(id)
		if b, err = r.newBlank("blank-"+hex.EncodeToString(id), commonFlags, nil); err != nil {
			return nil, err
		}
	}
	if req.NIC != "" && !req.Comes {
		if err := moveLink(req.NIC, b.pid); err != nil {
			return nil, errors.Join(err, b.drop(ctx))
		}
	}
	b.nic = req.NIC
	return b, nil
}

// use returns b, which does not wait any more, if it lives; else, and for nil,
// nil. The next is made soon.
func (r *Runtime) use(b *blank) *blank {
	if b == nil {
		return nil
	}
	time.AfterFunc(refillDelay, r.refill)
	if b.alive() {
		return b
	}
	if err := b.drop(context.Background()); err != nil {
		r.log.Warn("a prepared container ended by itself, and its cgroup was left", "error", err)
	}
	return nil
}

// giveUp ends a blank, but not its interface, which comes back.
func (r *Runtime) giveUp(ctx context.Context, b *blank) error {
	return errors.Join(returnLink(b.nic, b.pid), b.drop(ctx))
}

// withdraw takes back a blank that has an interface, empty: none; or it returns
// nil.
func (r *Runtime) withdraw(nic string) *blank {
	r.blanks.mu.Lock()
	defer r.blanks.mu.Unlock()
	return r.blanks.pick(func(b *blank) bool { return b.nic == nic })
}

// pick takes out the first that fits, or returns nil. The caller holds mu.
func (l *blanks) pick(fits func(*blank) bool) *blank {
	i := slices.IndexFunc(l.ready, fits)
	if i < 0 {
		return nil
	}
	b := l.ready[i]
	l.ready = slices.Delete(l.ready, i, i+1)
	return b
}

// take returns a blank that was prepared for such a container, or nil.
func (r *Runtime) take(flags int, joins []join, nic string, want agent.Foundation) *blank {
	if flags != commonFlags || len(joins) > 0 {
		return nil
	}
	r.blanks.mu.Lock()
	defer r.blanks.mu.Unlock()
	b := r.blanks.pick(func(b *blank) bool { return b.nic == nic && (b.base == nil || b.base.is(want)) })
	if b == nil { // its interface can still follow
		b = r.blanks.pick(func(b *blank) bool { return b.nic == "" })
	}
	return r.use(b)
}

// Forget ends what was prepared with nic (empty: with any interface) and not
// taken.
func (r *Runtime) Forget(ctx context.Context, nic string) error {
	r.blanks.mu.Lock()
	var drop []*blank
	r.blanks.ready = slices.DeleteFunc(r.blanks.ready, func(b *blank) bool {
		hit := b.nic != "" && (nic == "" || b.nic == nic)
		if hit {
			drop = append(drop, b)
		}
		return hit
	})
	r.blanks.mu.Unlock()
	var errs []error
	for _, b := range drop {
		errs = append(errs, b.drop(ctx))
	}
	return errors.Join(errs...)
}

// linkReturns is how long an interface may take to come back when the process
// that had it has ended: the kernel takes its namespace down later.
const linkReturns = 2 * time.Second

// moveLink moves an interface into pid's network namespace. One that was
// prepared for another kind of container comes back first.
func (r *Runtime) moveLink(ctx context.Context, name string, pid int) error {
	if b := r.withdraw(name); b != nil {
		if err := r.giveUp(ctx, b); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(linkReturns); ; time.Sleep(10 * time.Millisecond) {
		err := moveLink(name, pid)
		if !errors.As(err, new(netlink.LinkNotFoundError)) || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// dropBlanks ends all that nobody has taken. No more are made.
func (r *Runtime) dropBlanks(ctx context.Context) error {
	r.blanks.mu.Lock()
	r.blanks.closed = true
	r.blanks.mu.Unlock()
	r.blanks.filling.Lock() // what is being made sees that it is not wanted
	defer r.blanks.filling.Unlock()
	r.blanks.mu.Lock()
	ready := r.blanks.ready
	r.blanks.ready = nil
	r.blanks.mu.Unlock()
	var errs []error
	for _, b := range ready {
		errs = append(errs, b.drop(ctx))
	}
	return errors.Join(errs...)
}
