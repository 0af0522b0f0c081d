package engine

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/term"

	"github.com/abode-run/abode/internal/agent"
)

// execution is one further process of a container.
type execution struct {
	id   string
	c    *Container
	cfg  container.ExecCreateRequest
	keys []byte
	// probe says that it is a health check's: it lives no longer than its
	// streams, and nobody asks for it afterwards.
	probe bool

	mu      sync.Mutex
	begun   bool
	running bool
	pid     int
	code    *int
	ended   time.Time
	done    chan struct{} // closed when it has ended
}

// ExecCreate prepares a further process in a running container.
func (e *Engine) ExecCreate(ctx context.Context, name string, cfg container.ExecCreateRequest) (id string, err error) {
	c, err := e.containers.find(name)
	if err != nil {
		return "", err
	}
	if err := c.execable(); err != nil {
		return "", err
	}
	if len(cfg.Cmd) == 0 {
		return "", invalid("No exec command specified")
	}
	x := c.execution(cfg)
	if cfg.DetachKeys != "" {
		if x.keys, err = term.ToBytes(cfg.DetachKeys); err != nil {
			return "", invalid("Invalid detach keys (%s) provided", cfg.DetachKeys)
		}
	}
	x.register()
	return x.id, nil
}

func (c *Container) execution(cfg container.ExecCreateRequest) *execution {
	return &execution{id: newID(), c: c, cfg: cfg, ended: time.Now(), done: make(chan struct{})}
}

// register makes it known.
func (x *execution) register() {
	x.c.e.execs.add(x)
	x.c.event(events.ActionExecCreate+events.Action(": "+strings.Join(x.cfg.Cmd, " ")), map[string]string{"execID": x.id})
}

// execable says whether processes can be started in the container.
func (c *Container) execable() error {
	_, st := c.snapshot()
	if st.Phase == phasePaused {
		return conflict("container %s is paused, unpause the container before exec", c.id)
	}
	_, err := c.running()
	return err
}

// ExecStart starts a prepared process once. Detached, it returns no streams;
// else they begin with the first byte. size is height and width.
func (e *Engine) ExecStart(ctx context.Context, execID string, detach, tty bool, size *[2]uint) (*Streams, error) {
	x, err := e.execs.find(execID)
	if err != nil {
		return nil, err
	}
	if err := x.c.execable(); err != nil {
		return nil, err
	}
	client, err := x.c.running()
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	if x.begun {
		x.mu.Unlock()
		if closed(x.done) {
			return nil, conflict("exec command %s has already run", x.id)
		}
		return nil, conflict("exec command %s is already running", x.id)
	}
	x.begun, x.running = true, true
	x.mu.Unlock()
	return x.run(ctx, client, detach, size)
}

// run starts it, or ends it.
func (x *execution) run(ctx context.Context, client *agent.Client, detach bool, size *[2]uint) (*Streams, error) {
	s, err := x.start(ctx, client, detach, size)
	if err != nil {
		code := 126 // as Docker: what runs nothing was not executed
		code, err = startFailure(err, code)
		x.end(code)
		return nil, err
	}
	return s, nil
}

func (x *execution) start(ctx context.Context, client *agent.Client, detach bool, size *[2]uint) (_ *Streams, err error) {
	took := newStopwatch(ctx)
	if !x.probe {
		defer func() { x.c.did(ctx, OperationExec, took, err) }()
	}
	req := agent.ExecRequest{
		Args: x.cfg.Cmd, Env: x.cfg.Env, Cwd: x.cfg.WorkingDir, User: x.cfg.User,
		Terminal: x.cfg.Tty, OpenStdin: x.cfg.AttachStdin && !detach, Privileged: x.cfg.Privileged,
		Tied: x.probe, Collected: x.c.takeCollected(),
	}
	if size == nil {
		size = x.cfg.ConsoleSize
	}
	if size != nil && x.cfg.Tty {
		req.Height, req.Width = size[0], size[1]
	}
	proc := agent.ProcessRequest{ID: x.c.id, ExecID: x.id}
	run := agent.StartRequest{ProcessRequest: proc, Exec: &req}
	await := sync.OnceFunc(func() {
		if !closed(x.done) {
			x.c.e.watch.Go(func() { x.await(client, proc) })
		}
	})
	var s *Streams
	var started agent.ProcessResponse
	if detach {
		err = client.Call(ctx, agent.MethodStart, &run, &started)
	} else {
		s = newStreams(x.c.e, x.cfg.Tty)
		s.stdin = x.cfg.AttachStdin
		s.exited = func(exit agent.Exit) { x.end(exit.Code & 0xff) }
		s.over = await
		started, err = s.begin(ctx, client, run, agent.AttachStreams{Stdin: s.stdin, Stdout: x.cfg.AttachStdout, Stderr: x.cfg.AttachStderr})
	}
	if err != nil {
		return nil, err
	}
	took.lap("start")
	x.mu.Lock()
	x.pid = started.PID
	x.mu.Unlock()
	x.c.event(events.ActionExecStart+events.Action(": "+strings.Join(x.cfg.Cmd, " ")), map[string]string{"execID": x.id})
	if detach {
		await()
	}
	return s, nil
}

// await waits for the process's end.
func (x *execution) await(client *agent.Client, proc agent.ProcessRequest) {
	ended, k := x.c.target()
	if k == nil {
		x.end(exitKilled)
		return
	}
	ctx, cancel := context.WithCancel(x.c.e.ctx)
	defer cancel()
	for {
		var exit agent.Exit
		err := client.Call(ctx, agent.MethodWait, proc, &exit)
		var answer *agent.Error
		switch {
		case err == nil:
			x.end(exit.Code & 0xff)
			return
		case ctx.Err() != nil:
			return
		case errors.As(err, &answer), closed(ended), closed(k.Done()):
			x.end(exitKilled)
			return
		}
		select { // the session broke: ask in the next
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// end records the end of a process, once.
func (x *execution) end(code int) {
	x.mu.Lock()
	if closed(x.done) {
		x.mu.Unlock()
		return
	}
	started := x.pid != 0
	x.running, x.pid, x.code, x.ended = false, 0, &code, time.Now()
	close(x.done)
	x.mu.Unlock()
	if started {
		if !x.probe {
			x.c.collect(x.id)
		}
		x.c.event(events.ActionExecDie, map[string]string{"execID": x.id, "exitCode": utoa(uint(code))})
	}
}

// endExecs ends what ran in a container that has ended.
func (c *Container) endExecs() {
	for _, x := range c.e.execs.of(c) {
		x.mu.Lock()
		running := x.running
		x.mu.Unlock()
		if running {
			x.end(exitKilled)
		}
	}
	c.takeCollected() // the agent forgets them with the container
}

// collect notes a process whose exit is known: with the next one that is
// started the agent is told to forget it, without a call for that alone.
func (c *Container) collect(execID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collected = append(c.collected, execID)
}

func (c *Container) takeCollected() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.collected
	c.collected = nil
	return list
}

// ExecResize sets the size of a process's terminal, in characters.
func (e *Engine) ExecResize(ctx context.Context, execID string, w, h uint) error {
	x, err := e.execs.find(execID)
	if err != nil {
		return err
	}
	client, err := x.c.running()
	if err != nil {
		return err
	}
	x.mu.Lock()
	running := x.running
	x.mu.Unlock()
	if !running {
		return conflict("exec %s is not running", execID)
	}
	err = client.Call(ctx, agent.MethodResize, agent.ResizeRequest{ID: x.c.id, ExecID: x.id, Width: w, Height: h}, nil)
	return fromAgent(err)
}

// ExecInspect describes a prepared, running or ended process.
func (e *Engine) ExecInspect(ctx context.Context, execID string) (container.ExecInspectResponse, error) {
	x, err := e.execs.find(execID)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	privileged := x.cfg.Privileged
	return container.ExecInspectResponse{
		ID: x.id, Running: x.running, ExitCode: x.code, Pid: x.pid, ContainerID: x.c.id, DetachKeys: x.keys,
		OpenStdin: x.cfg.AttachStdin, OpenStdout: x.cfg.AttachStdout, OpenStderr: x.cfg.AttachStderr,
		CanRemove: closed(x.done),
		ProcessConfig: &container.ExecProcessConfig{
			Tty: x.cfg.Tty, Entrypoint: x.cfg.Cmd[0], Arguments: x.cfg.Cmd[1:], Privileged: &privileged, User: x.cfg.User,
		},
	}, nil
}
