package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm"
	"github.com/abode-run/abode/internal/network"
)

// sparesKept is how many are kept ready behind each wall.
var sparesKept = map[kernel.Isolation]int{kernel.Container: 2, kernel.VM: 1}

// stockDelay keeps the making of the next out of the way of a short life.
const stockDelay = 50 * time.Millisecond

// spares are places that were made ahead: an interface of the network that
// waits in the network namespace of a container's first process at the host's
// agent, or is that of a guest which waits. They are made once a container has
// needed one, so that an engine without containers has nothing on the host.
type spares struct {
	mu    sync.Mutex
	ready []spare
	busy  map[kernel.Isolation]bool
	image string // of the VM that was started last
}

// spareKind says for which containers a spare is good.
type spareKind struct {
	wall   kernel.Isolation
	cpus   float64 // of a guest
	memory int64
}

type spare struct {
	spareKind
	net     *network.Network
	id, nic string
	owner   int    // of a guest; becomes the container's
	image   string // whose layers a guest has mounted; may be empty
}

// spareFor returns what a container needs, if it can use a spare at all.
func spareFor(rec *record) (k spareKind, ok bool) {
	k.wall = rec.Isolation
	if rec.Isolation == kernel.VM {
		k.cpus, k.memory = cpus(&rec.Host.Resources), rec.Host.Memory
		return k, rec.Host.Annotations[noTemplate] != "true"
	}
	// What was prepared has all namespaces of its own.
	return k, len(rec.namespaces()) == allNamespaces && !joins(rec.Host)
}

// spare takes one for a container, if there can be one. It must be given back,
// by forget, if the container is not made with it. That of a container which
// shares the host's kernel is made now when none is ready: it takes what the
// making of its parts would.
func (e *Engine) spare(ctx context.Context, rec *record, net *network.Network) (s spare, ok bool, err error) {
	kind, ok := spareFor(rec)
	if !ok {
		return spare{}, false, nil
	}
	ok = false
	if net == e.network || kind.wall == kernel.VM { // other networks have no pairs ready
		s, ok = e.spares.take(kind)
	}
	if ok || kind.wall != kernel.Container {
		return s, ok, nil
	}
	s, err = e.prepareSpare(ctx, kind, net, nil)
	return s, err == nil, err
}

// take takes one that is ready.
func (s *spares) take(kind spareKind) (spare, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.ready, func(s spare) bool { return s.spareKind == kind })
	if i < 0 {
		return spare{}, false
	}
	taken := s.ready[i]
	s.ready = slices.Delete(s.ready, i, i+1)
	return taken, true
}

// stockSpares makes in the background what is missing after a container like
// rec has started. A guest of another shape than the last one's is given up.
func (e *Engine) stockSpares(rec *record) {
	kind, ok := spareFor(rec)
	if !ok || e.cfg.NoAhead || !rec.networked() || !rec.tap() && !rec.plain() {
		return
	}
	s := &e.spares
	s.mu.Lock()
	defer s.mu.Unlock()
	var like *record
	if kind.wall == kernel.VM {
		// To give up what was mounted for another image costs more than it
		// saves; who changes the image twice may do so again.
		if image := rec.Image.String(); s.image == "" || s.image == image {
			like = rec
		}
		s.image = rec.Image.String()
	}
	if s.busy[kind.wall] || !s.missing(kind) {
		return
	}
	if s.busy == nil {
		s.busy = map[kernel.Isolation]bool{}
	}
	s.busy[kind.wall] = true
	e.watch.Go(func() {
		select {
		case <-time.After(stockDelay):
		case <-e.ctx.Done():
		}
		for e.makeSpare(kind, like) {
		}
	})
}

// missing is called with mu held.
func (s *spares) missing(kind spareKind) bool {
	have := 0
	for _, r := range s.ready {
		if r.spareKind == kind {
			have++
		}
	}
	return have < sparesKept[kind.wall]
}

// makeSpare makes one, best for a container that is like another (nil: none),
// and says whether one more is missing.
func (e *Engine) makeSpare(kind spareKind, like *record) (more bool) {
	made, err := e.prepareSpare(e.ctx, kind, e.network, like)
	if err != nil && e.ctx.Err() == nil {
		e.log.Warn("containers start slower: nothing can be made ahead", "isolation", kind.wall, "error", err)
	}
	s := &e.spares
	s.mu.Lock()
	var others []spare
	if err == nil {
		s.ready = slices.DeleteFunc(s.ready, func(s spare) bool {
			other := s.wall == kind.wall && s.spareKind != kind
			if other {
				others = append(others, s)
			}
			return other
		})
		s.ready = append(s.ready, made)
	}
	more = err == nil && s.missing(kind) && e.ctx.Err() == nil
	s.busy[kind.wall] = more
	s.mu.Unlock()
	for _, o := range others {
		if err := e.forget(e.ctx, o); err != nil {
			e.log.Warn("what was made ahead is left", "isolation", o.wall, "error", err)
		}
	}
	return more
}

func (e *Engine) prepareSpare(ctx context.Context, kind spareKind, net *network.Network, like *record) (s spare, err error) {
	s.spareKind, s.net, s.id = kind, net, network.SpareID()
	if kind.wall == kernel.Container {
		s.nic = net.SpareNIC(s.id)
		var pid int
		if pid, err = e.walls.host.Prepare(ctx, s.nic); err == nil {
			err = net.SparePair(ctx, s.id, pid)
		}
	} else {
		if like != nil {
			s.image = like.Image.String()
		}
		if s.owner, err = e.containers.lend(s.id); err != nil {
			return s, err
		}
		if s.nic, err = e.taps.Make(s.id, s.owner); err != nil {
			e.containers.forget(s.id)
			return s, err
		}
		err = e.prepareGuest(ctx, s, like)
	}
	if err != nil {
		err = errors.Join(err, e.forget(context.WithoutCancel(ctx), s))
	}
	return s, err
}

func (e *Engine) prepareGuest(ctx context.Context, s spare, like *record) error {
	run, err := rehearsal(s)
	if err != nil {
		return err
	}
	a := vm.Ahead{ID: s.id, NIC: s.nic, CPUs: s.cpus, Memory: s.memory, Owner: s.owner, Rehearsal: run}
	if like != nil && len(like.namespaces()) == allNamespaces {
		if img, err := e.images.Get(ctx, s.image); err == nil { // else it was removed meanwhile
			rec := *like
			rec.Owner = s.owner
			next, err := rec.request(rehearsalPlace(s.nic))
			if err != nil {
				return err
			}
			f := next.Foundation()
			a.Layers, a.Foundation = kernelLayers(img), &f
		}
	}
	return e.walls.guest.Prepare(ctx, a)
}

// rehearsal is an ordinary container that runs vm.Program in a network of its own.
func rehearsal(s spare) (*agent.CreateRequest, error) {
	rec := &record{ID: s.id, Isolation: kernel.VM, Owner: s.owner,
		Config: &container.Config{Cmd: []string{vm.Program}, Hostname: "rehearsal"}, Host: &container.HostConfig{ShmSize: 64 << 20}}
	normalise(rec.Config, rec.Host)
	j := rehearsalPlace(s.nic)
	req, err := rec.request(j)
	if err != nil {
		return nil, fmt.Errorf("cannot describe a rehearsal: %w", err)
	}
	req.Mounts = rec.shm()
	req.Links = []agent.Link{j.agentLink(&j.Places[0], "")}
	return req, nil
}

// rehearsalPlace is in a network that is for documentation (RFC 5737).
func rehearsalPlace(nic string) *attachments {
	return &attachments{Out: defaultNetwork, Places: []place{{Network: defaultNetwork, Link: "eth0", Attachment: network.Attachment{
		NIC: nic, MAC: "02:00:00:00:00:01", MTU: 1500,
		Addresses: []string{"192.0.2.2/24"}, Gateways: []string{"192.0.2.1"}, DNS: []string{"192.0.2.1"},
	}}}}
}

// dropImageless gives guests up that hold the layers of an image that is gone.
func (e *Engine) dropImageless(ctx context.Context) {
	s := &e.spares
	var gone []spare
	s.mu.Lock()
	s.ready = slices.DeleteFunc(s.ready, func(s spare) bool {
		if s.image == "" {
			return false
		}
		if _, err := e.images.Get(ctx, s.image); !errdefs.IsNotFound(err) {
			return false
		}
		gone = append(gone, s)
		return true
	})
	s.mu.Unlock()
	for _, s := range gone {
		if err := e.forget(ctx, s); err != nil {
			e.log.Warn("a guest that was made ahead is left", "error", err)
		}
	}
}

// forget gives a spare up.
func (e *Engine) forget(ctx context.Context, s spare) error {
	err := e.forgetKernel(ctx, s)
	e.containers.forget(s.id)
	if s.wall == kernel.VM {
		return errors.Join(err, e.taps.Remove(s.nic))
	}
	return errors.Join(err, s.net.DropSpare(s.id))
}

// forgetKernel ends what waits with a spare's interface, unless a container
// has it.
func (e *Engine) forgetKernel(ctx context.Context, s spare) error {
	if s.wall == kernel.VM {
		e.walls.guest.Forget(s.nic)
		return nil
	}
	return e.walls.host.Forget(ctx, s.nic)
}

// dropSpares gives all up, when nobody makes more.
func (e *Engine) dropSpares(ctx context.Context) error {
	var errs []error
	for _, s := range e.spares.ready {
		errs = append(errs, e.forget(ctx, s))
	}
	e.spares.ready = nil
	return errors.Join(errs...)
}
