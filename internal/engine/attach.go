package engine

import (
	"context"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/logs"
)

// Attach joins a client to the container's streams. Of a container that does
// not run yet, they begin with its first byte when it is started.
func (e *Engine) Attach(ctx context.Context, name string, opts AttachOptions) (*Streams, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, err
	}
	rec, st := c.snapshot()
	if st.Phase == phasePaused {
		return nil, conflict("container %s is paused, unpause the container before attach", c.id)
	}
	if st.Restarting {
		return nil, conflict("container %s is restarting, wait until the container is running", c.id)
	}
	s := newStreams(e, rec.Config.Tty)
	s.stdin = opts.Stdin && rec.Config.OpenStdin
	s.live = opts.Stream
	if opts.Logs {
		s.before = func(ctx context.Context, emit func(byte, []byte) error) error {
			return logs.Read(ctx, c.dir.Log(), logs.Options{Stdout: opts.Stdout, Stderr: opts.Stderr, Tail: -1}, emit)
		}
	}
	if !s.live {
		s.fail(nil)
		return s, nil
	}
	to := agent.AttachStreams{Stdin: s.stdin, Stdout: opts.Stdout, Stderr: opts.Stderr}
	c.mu.Lock()
	k := c.kernel
	if k == nil {
		s.pend(c, to)
	}
	c.mu.Unlock()
	if k != nil {
		if err := s.connect(ctx, k.Agent(), agent.ProcessRequest{ID: c.id}, to); err != nil {
			return nil, fromAgent(err)
		}
	}
	c.event(events.ActionAttach, nil)
	return s, nil
}

// pending is what streams that wait for a start will ask for.
type pending struct {
	*Streams
	to agent.AttachStreams
}

// pend registers streams for the container's next start. The caller holds mu.
func (s *Streams) pend(c *Container, to agent.AttachStreams) {
	p := &pending{s, to}
	c.pending = append(c.pending, p)
	s.gone = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pending = slices.DeleteFunc(c.pending, func(o *pending) bool { return o == p })
	}
}

// launch creates the container, joins those who wait to it, and starts it. told
// gets how it has ended, if that is heard where its output goes; nil: it is not.
func (c *Container) launch(ctx context.Context, k kernel.Kernel, create *agent.CreateRequest) (started agent.ProcessResponse, told chan agent.Exit, err error) {
	c.mu.Lock()
	list := c.pending
	c.pending = nil
	c.mu.Unlock()
	req := &agent.StartRequest{ProcessRequest: agent.ProcessRequest{ID: c.id}, Create: create}
	if len(list) == 0 {
		return started, nil, k.Agent().Call(ctx, agent.MethodStart, req, &started)
	}
	first := list[0]
	if len(list) > 1 { // the others join what is there, which takes calls of their own
		if err := k.Agent().Call(ctx, agent.MethodCreate, create, nil); err != nil {
			for _, p := range list {
				p.fail(nil)
			}
			return started, nil, err
		}
		req.Create = nil
		c.serve(ctx, k, list[1:])
	}
	told = make(chan agent.Exit, 1)
	first.exited = func(exit agent.Exit) {
		select {
		case told <- exit:
		default: // an agent may say it twice
		}
	}
	started, err = first.begin(ctx, k.Agent(), *req, first.to)
	return started, told, err
}

// serve connects those who waited for a start.
func (c *Container) serve(ctx context.Context, k kernel.Kernel, list []*pending) {
	for _, p := range list {
		if err := p.connect(ctx, k.Agent(), agent.ProcessRequest{ID: c.id}, p.to); err != nil {
			c.e.log.Warn("a client cannot be attached", "container", c.id, "error", err)
		}
	}
}

// Resize sets the size of the container's terminal, in characters.
func (e *Engine) Resize(ctx context.Context, name string, w, h uint) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	client, err := c.running()
	if err != nil {
		return err
	}
	if err := client.Call(ctx, agent.MethodResize, agent.ResizeRequest{ID: c.id, Width: w, Height: h}, nil); err != nil {
		return fromAgent(err)
	}
	c.event(events.ActionResize, map[string]string{"height": utoa(h), "width": utoa(w)})
	return nil
}

// Logs shows what the container has written, line by line, and with Follow
// what it goes on to write until it ends. emit gets a part of one line at a
// time.
func (e *Engine) Logs(ctx context.Context, name string, opts LogsOptions, emit func(stream byte, p []byte) error) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	rec, _ := c.snapshot()
	if rec.Host.LogConfig.Type == logNone {
		return errorf(errdefs.ErrNotImplemented, "configured logging driver does not support reading")
	}
	o := logs.Options{Stdout: opts.Stdout, Stderr: opts.Stderr, Timestamps: opts.Timestamps, Since: opts.Since, Until: opts.Until, Tail: opts.Tail}
	if opts.Details {
		details, err := rec.logDetails()
		if err != nil {
			return invalid("cannot tell the log's details: %v", err)
		}
		o.Details = &details
	}
	if opts.Follow {
		if ended, k := c.target(); k != nil {
			o.Follow = ended
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	return logs.Read(ctx, c.dir.Log(), o, emit)
}
