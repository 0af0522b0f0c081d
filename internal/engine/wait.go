package engine

import (
	"context"
	"slices"

	"github.com/moby/moby/api/types/container"
)

// waiter is one who waits for a container. Its channel holds one response.
type waiter struct {
	cond container.WaitCondition
	ch   chan container.WaitResponse
}

// Wait waits for a container. It is registered when Wait returns: what happens
// from then on is not missed. The channel brings one response, and is closed
// without one when ctx ends or the engine closes.
func (e *Engine) Wait(ctx context.Context, name string, cond container.WaitCondition) (<-chan container.WaitResponse, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, err
	}
	w := &waiter{cond: cond, ch: make(chan container.WaitResponse, 1)}
	c.mu.Lock()
	if c.told || cond == container.WaitConditionNotRunning && !c.st.up() {
		w.ch <- container.WaitResponse{StatusCode: int64(c.st.ExitCode)}
	} else {
		c.waiters = append(c.waiters, w)
	}
	c.mu.Unlock()
	out := make(chan container.WaitResponse, 1)
	go func() {
		defer close(out)
		select {
		case r := <-w.ch:
			out <- r
		case <-ctx.Done():
			c.mu.Lock()
			c.waiters = slices.DeleteFunc(c.waiters, func(o *waiter) bool { return o == w })
			c.mu.Unlock()
		case <-e.ctx.Done():
		}
	}()
	return out, nil
}

// take returns those who wait for one of conds, and forgets them. The caller
// holds mu.
func (c *Container) take(conds ...container.WaitCondition) (list []*waiter) {
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if !slices.Contains(conds, w.cond) {
			return false
		}
		list = append(list, w)
		return true
	})
	return list
}

// answer tells waiters that were taken, which are answered once.
func answer(list []*waiter, code int) {
	for _, w := range list {
		w.ch <- container.WaitResponse{StatusCode: int64(code)}
	}
}
