package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/stream"
)

func newRun(a *app) *cobra.Command {
	var flags createFlags
	var detach, sigProxy bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a container from an image and start it",
		Long: `Create a container from an image and start it. The image is pulled when it is
missing. In the foreground the container's output and exit code are those of
this command; with -d its ID is printed and it runs in the background.

--isolation chooses the wall: 'container' shares the host's kernel, 'vm' gives
the container a kernel of its own. Everything else is the same for both.

Exit codes: 125 when the engine refuses or fails, 126 when the command cannot
be run, 127 when it is not found, 128+N when signal N ended it.`,
		Example: `  abode run --rm alpine echo hello
  abode run -it --rm --isolation vm alpine sh
  abode run -d --name web -p 8080:80 nginx
  abode run --rm -v "$PWD":/src -w /src -m 512m --cpus 1.5 golang go build`,
		Args: atLeast(1),
	}
	f := cmd.Flags()
	f.Bool("help", false, "print this help")
	f.BoolVarP(&detach, "detach", "d", false, "run in the background and print the container's ID")
	f.BoolVar(&sigProxy, "sig-proxy", true, "pass signals on to the container")
	f.StringVar(&detachKeys, "detach-keys", "", "keys that leave the container running (default ctrl-p,ctrl-q)")
	flags.register(f)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		o, err := flags.options(f, args, detach)
		if err != nil {
			return exit(125, usage(cmd, err))
		}
		if detach {
			return a.runDetached(ctx, c, &flags, o)
		}
		return a.runAttached(ctx, c, &flags, o, sigProxy, detachKeys)
	})
	return cmd
}

func (a *app) runDetached(ctx context.Context, c *client.Client, f *createFlags, o client.ContainerCreateOptions) error {
	id, err := a.create(ctx, c, f, o)
	if err != nil {
		return exit(125, err)
	}
	if err := a.start(ctx, c, id, f.autoRemove); err != nil {
		return err
	}
	fmt.Fprintln(a.out, id)
	return nil
}

// runAttached creates the container, attaches, waits for its end to be
// registered, and only then starts it, so that no output and no exit code
// is missed.
func (a *app) runAttached(ctx context.Context, c *client.Client, f *createFlags, o client.ContainerCreateOptions, sigProxy bool, detachKeys string) error {
	if o.Config.Tty && o.Config.AttachStdin && !stream.IsTerminal(a.in) {
		return exit(125, errNoTerminal)
	}
	if _, err := stream.DetachKeys(a.detachKeys(detachKeys)); err != nil {
		return exit(125, err)
	}
	if o.Config.Tty {
		o.HostConfig.ConsoleSize[0], o.HostConfig.ConsoleSize[1] = stream.Size(a.out)
	}
	id, err := a.create(ctx, c, f, o)
	if err != nil {
		return exit(125, err)
	}
	config := o.Config
	return a.foreground(ctx, c, session{
		id: id, tty: config.Tty, autoRemove: f.autoRemove, start: true,
		stdin: config.AttachStdin, stdout: config.AttachStdout, stderr: config.AttachStderr,
		sigProxy: sigProxy, detachKeys: a.detachKeys(detachKeys),
	})
}

var errNoTerminal = errors.New("the input device is not a TTY; leave -t out, or run this in a terminal")

// detachKeys are those of the flag, else those of config.json.
func (a *app) detachKeys(flag string) string {
	if flag != "" {
		return flag
	}
	if f, err := loadConfig(); err == nil {
		return f.String("detachKeys")
	}
	return ""
}

// start starts a container. A failure has the exit code that tells why; a
// container with --rm is then gone.
func (a *app) start(ctx context.Context, c *client.Client, id string, autoRemove bool) error {
	_, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err == nil {
		return nil
	}
	if autoRemove {
		a.discard(ctx, c, id)
	}
	return exit(startCode(err), err)
}

// startCode is the exit code for a command that could not be started: 127
// when it is not found, 126 when it cannot be run, else 125.
func startCode(err error) int {
	text := strings.ToLower(err.Error())
	for _, s := range []string{"executable file not found", "no such file or directory", "system cannot find the file specified"} {
		if strings.Contains(text, s) {
			return 127
		}
	}
	for _, s := range []string{"permission denied", "not a directory", "is a directory", "exec format error"} {
		if strings.Contains(text, s) {
			return 126
		}
	}
	return 125
}

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
	started := make(chan struct{})
	if s.sigProxy {
		stop := stream.Forward(func(signal string) {
			<-started // a signal that comes earlier would be lost
			_, _ = c.ContainerKill(free, s.id, client.ContainerKillOptions{Signal: signal})
		})
		defer stop()
	}
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
