package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/kernel"
)

// probeStart bounds how long a check takes to start, which is not part of its
// own time.
const probeStart = 30 * time.Second

// monitor checks the health of a container that runs.
type monitor struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when no check runs any more
}

// watchHealth begins to check a container's health, if it has a check, runs
// and is not checked yet.
func (c *Container) watchHealth() {
	rec, _ := c.snapshot()
	check, ok, _ := healthCheckOf(rec.Config)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(c.e.ctx)
	m := &monitor{cancel: cancel, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.monitor != nil || c.kernel == nil || c.st.Phase != phaseRunning || c.st.Health == nil {
		cancel()
		return
	}
	c.monitor = m
	k := c.kernel
	c.e.watch.Go(func() {
		defer close(m.done)
		defer cancel()
		c.monitorHealth(ctx, m, &check, k)
	})
}

// dropMonitor ends the checks without waiting: what they still find counts for
// nothing. The caller holds mu.
func (c *Container) dropMonitor() {
	if c.monitor != nil {
		c.monitor.cancel()
		c.monitor = nil
	}
}

// stopMonitor ends the checks and waits for the one that runs.
func (c *Container) stopMonitor() {
	c.mu.Lock()
	m := c.monitor
	c.dropMonitor()
	c.mu.Unlock()
	if m != nil {
		<-m.done
	}
}

// monitorHealth checks until ctx ends.
func (c *Container) monitorHealth(ctx context.Context, m *monitor, check *healthCheck, k kernel.Kernel) {
	saved := true
	for {
		_, st := c.snapshot()
		t := time.NewTimer(check.pause(st.Health.Status, time.Since(st.StartedAt)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if c.e.ctx.Err() != nil && !saved { // the next daemon goes on with it
				c.saveHealth()
			}
			return
		}
		if r := c.probe(ctx, check, k); r != nil {
			saved = c.learn(m, check, r)
		}
	}
}

// learn takes in a result, and says whether all of it is on disk.
func (c *Container) learn(m *monitor, check *healthCheck, r *container.HealthcheckResult) (saved bool) {
	c.mu.Lock()
	if c.monitor != m {
		c.mu.Unlock()
		return true
	}
	before := c.st.Health
	after := check.next(before, c.st.StartedAt, r)
	c.st.Health = after
	c.mu.Unlock()
	if lasting(before, after) {
		c.saveHealth()
	}
	if before.Status != after.Status {
		c.event(events.ActionHealthStatus+events.Action(": "+after.Status), nil)
	}
	return lasting(before, after)
}

func (c *Container) saveHealth() {
	if err := c.setStatus(func(*status) {}); err != nil {
		c.e.log.Warn("a container's health is not recorded; the next daemon finds an older one", "container", c.id, "error", err)
	}
}

// probe runs the check once; nil says that it has nothing to tell, because ctx
// has ended or the container.
func (c *Container) probe(ctx context.Context, check *healthCheck, k kernel.Kernel) *container.HealthcheckResult {
	r := &container.HealthcheckResult{Start: time.Now(), ExitCode: -1}
	x := c.execution(container.ExecCreateRequest{Cmd: check.command, AttachStdout: true, AttachStderr: true})
	x.probe, x.begun, x.running = true, true, true
	x.register()
	defer c.e.execs.drop(x.id)
	startCtx, cancel := context.WithTimeout(ctx, probeStart)
	defer cancel()
	s, err := x.run(startCtx, k.Agent(), false, nil)
	if err != nil {
		if ctx.Err() != nil || closed(k.Done()) || errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
			return nil // it ends, or is paused
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("timed out starting health check for container %s", c.id)
		}
		r.End, r.Output = time.Now(), plain(err)
		return r
	}
	out := &probeOutput{}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(c.e.ctx, out, false) }()
	t := time.NewTimer(check.timeout)
	defer t.Stop()
	select {
	case err = <-ended:
	case <-t.C:
		s.hangUp() // which kills it
		awaitOrCancel(ended, s)
		r.Output = fmt.Sprintf("Health check exceeded timeout (%v)", check.timeout)
		if text := out.String(); text != "" {
			r.Output += ": " + text
		}
		err = context.DeadlineExceeded
	case <-ctx.Done():
		s.hangUp()
		awaitOrCancel(ended, s)
	}
	x.end(exitKilled) // unless its end was told
	if ctx.Err() != nil || closed(k.Done()) {
		return nil
	}
	r.End = time.Now()
	switch {
	case err == nil:
		r.ExitCode, r.Output = *x.code, out.String()
	case r.Output == "":
		r.Output = plain(err)
	}
	return r
}

// awaitOrCancel waits until streams have ended, and ends them when that takes
// too long.
func awaitOrCancel(ended <-chan error, s *Streams) {
	t := time.NewTimer(callTimeout)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		s.cancel()
		<-ended
	}
}

// probeOutput is a client that wants a check's output.
type probeOutput struct {
	mu sync.Mutex
	firstBytes
}

func (o *probeOutput) Read([]byte) (int, error) { return 0, io.EOF }
func (o *probeOutput) Close() error             { return nil }

func (o *probeOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(p)
	return len(p), nil
}

func (o *probeOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.firstBytes.String()
}
