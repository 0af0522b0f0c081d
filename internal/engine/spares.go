package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/abode-run/abode/internal/kernel"
)

// sparesKept is how many interfaces are kept ready for containers on the
// host's kernel.
const sparesKept = 2

// spares are interfaces that were made ahead, each in the network namespace of
// a container's first process that waits at the host's agent. They are made
// once a container has needed one, so that an engine without containers has
// nothing on the host.
type spares struct {
	mu    sync.Mutex
	ready []spare
	busy  bool
}

type spare struct{ id, nic string }

// spare takes one, if the container can use it. It must be given back, by
// forget, if no container is made with it.
func (e *Engine) spare(rec *record) (spare, bool) {
	// What was prepared has all namespaces of its own.
	if rec.Isolation != kernel.Container || len(rec.namespaces()) != allNamespaces {
		return spare{}, false
	}
	s := &e.spares
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		return spare{}, false
	}
	taken := s.ready[0]
	s.ready = s.ready[1:]
	return taken, true
}

// stockSpares makes as many as are missing, in the background.
func (e *Engine) stockSpares() {
	s := &e.spares
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || len(s.ready) >= sparesKept {
		return
	}
	s.busy = true
	e.watch.Go(func() {
		for e.makeSpare() {
		}
	})
}

// makeSpare makes one and says whether another is missing.
func (e *Engine) makeSpare() (more bool) {
	s := &e.spares
	made, err := e.prepareSpare(e.ctx)
	if err != nil && e.ctx.Err() == nil {
		e.log.Warn("containers start slower: no network interface can be made ahead", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.ready = append(s.ready, made)
	}
	s.busy = err == nil && len(s.ready) < sparesKept && e.ctx.Err() == nil
	return s.busy
}

func (e *Engine) prepareSpare(ctx context.Context) (s spare, err error) {
	if s.id, s.nic, err = e.network.Spare(ctx); err != nil {
		return s, err
	}
	if err := e.walls.host.Prepare(ctx, s.nic); err != nil {
		return s, errors.Join(err, e.network.DropSpare(s.id))
	}
	return s, nil
}

// forget gives a spare up.
func (e *Engine) forget(ctx context.Context, s spare) error {
	return errors.Join(e.walls.host.Forget(ctx, s.nic), e.network.DropSpare(s.id))
}

// dropSpares gives all up.
func (e *Engine) dropSpares(ctx context.Context) error {
	var errs []error
	for _, s := range e.spares.ready { // nobody makes more any longer
		errs = append(errs, e.forget(ctx, s))
	}
	e.spares.ready = nil
	return errors.Join(errs...)
}
