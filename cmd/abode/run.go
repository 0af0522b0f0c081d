package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/stream"
)

func newRun(a *app) *cobra.Command {
	var flags createFlags
	var detach, sigProxy, trace bool
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
  abode run --rm --trace --isolation vm alpine true
  abode run -d --name web -p 8080:80 --restart unless-stopped nginx
  abode run -d --health-cmd 'curl -fsS localhost' --health-interval 10s nginx
  abode run -d --log-opt max-size=10m --log-opt max-file=3 nginx
  abode run --rm -v "$PWD":/src -w /src -m 512m --cpus 1.5 golang go build`,
		Args: atLeast(1),
	}
	f := cmd.Flags()
	f.Bool("help", false, "print this help")
	f.BoolVarP(&detach, "detach", "d", false, "run in the background and print the container's ID")
	f.BoolVar(&sigProxy, "sig-proxy", true, "pass signals on to the container")
	f.BoolVar(&trace, "trace", false, "tell on standard error, at the end, where the time went")
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
	cmd.RunE = a.traced(&trace, cmd.RunE)
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
