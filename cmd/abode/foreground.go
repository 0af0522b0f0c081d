package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/cli/stream"
)

// session is a container in the foreground.
type session struct {
	id                    string
	tty, autoRemove       bool
	start                 bool // it is started once all is ready; else it runs already
	stdin, stdout, stderr bool
	sigProxy, logs        bool
	detachKeys            string
}

// foreground connects the caller's streams to a container until it ends;
// its exit code becomes that of the program. After detaching it is 0.
func (a *app) foreground(ctx context.Context, c *client.Client, s session) error {
	// What is under way is not cut short by a signal: the signal is the
	// container's.
	free := context.WithoutCancel(ctx)
	started := make(chan struct{})
	var proxied sync.WaitGroup
	if s.sigProxy { // beside the requests, as it takes as long as they do
		stop := func() {}
		proxied.Go(func() {
			stop = stream.Forward(func(signal string) {
				<-started // a signal that comes earlier would be lost
				_, _ = c.ContainerKill(free, s.id, client.ContainerKillOptions{Signal: signal})
			})
		})
		defer func() { proxied.Wait(); stop() }()
	}
	var attached chan error
	if s.stdin || s.stdout || s.stderr {
		conn, err := c.ContainerAttach(ctx, s.id, client.ContainerAttachOptions{
			Stream: true, Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, Logs: s.logs, DetachKeys: s.detachKeys,
		})
		if err != nil {
			return a.abandon(ctx, c, s, err)
		}
		attached = make(chan error, 1)
		go func() { attached <- a.attachment(s).Run(free, hijacked{conn.HijackedResponse}) }()
	}
	defer stream.RestoreAll()
	ended := a.wait(free, c, s)
	if err := ctx.Err(); err != nil {
		return a.abandon(ctx, c, s, err)
	}
	proxied.Wait()
	if s.start {
		if err := a.start(free, c, s.id, s.autoRemove); err != nil {
			return err
		}
	}
	close(started)
	if s.tty && s.stdout {
		defer stream.Resizes(a.out, func(h, w uint) error {
			_, err := c.ContainerResize(free, s.id, client.ContainerResizeOptions{Height: h, Width: w})
			return err
		})()
	}
	if attached != nil {
		err := <-attached
		stream.RestoreAll()
		if errors.Is(err, stream.ErrDetached) {
			return nil
		}
		if errors.Is(err, syscall.EPIPE) {
			return exit(128+int(syscall.SIGPIPE), nil) // nobody reads on, as after `| head`
		}
		if err != nil {
			return exit(125, fmt.Errorf("cannot go on showing the container's output: %w; it may run on, see 'abode ps'", err))
		}
	}
	select {
	case r := <-ended.Result:
		if r.Error != nil {
			return exit(125, errors.New(r.Error.Message))
		}
		if r.StatusCode != 0 {
			return exit(int(r.StatusCode), nil)
		}
		return nil
	case err := <-ended.Error:
		return exit(125, fmt.Errorf("cannot wait for the container's end: %w; it may run on, see 'abode ps'", err))
	}
}

// wait registers for the container's end: its next one if it has yet to
// start, its removal if it is removed then.
func (a *app) wait(ctx context.Context, c *client.Client, s session) client.ContainerWaitResult {
	condition := container.WaitConditionNotRunning
	if s.start {
		condition = container.WaitConditionNextExit
	}
	if s.autoRemove {
		condition = container.WaitConditionRemoved
	}
	return c.ContainerWait(ctx, s.id, client.ContainerWaitOptions{Condition: condition})
}

// abandon gives up before the start.
func (a *app) abandon(ctx context.Context, c *client.Client, s session, err error) error {
	if s.start && s.autoRemove {
		a.discard(ctx, c, s.id)
	}
	return exit(125, err)
}

func (a *app) attachment(s session) stream.Attachment {
	at := stream.Attachment{TTY: s.tty, DetachKeys: s.detachKeys}
	if s.stdin {
		at.In = a.in
	}
	if s.stdout {
		at.Out = io.Writer(a.out)
	}
	if s.stderr && !s.tty {
		at.Err = a.err
	}
	return at
}

// hijacked makes the API's connection a stream.Conn: what was read ahead
// comes first, and closing tells an error.
type hijacked struct{ client.HijackedResponse }

func (h hijacked) Read(p []byte) (int, error)  { return h.Reader.Read(p) }
func (h hijacked) Write(p []byte) (int, error) { return h.Conn.Write(p) }
func (h hijacked) CloseWrite() error           { return h.HijackedResponse.CloseWrite() }
func (h hijacked) Close() error                { return h.Conn.Close() }
