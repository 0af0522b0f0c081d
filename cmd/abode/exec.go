package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/stream"
)

func newExec(a *app) *cobra.Command {
	var o client.ExecCreateOptions
	var detach, interactive bool
	var env, envFiles []string
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Run a command in a running container",
		Long: `Run a command in a running container, with its namespaces, limits and rights.
The command's exit code is that of this one; 126 when the command cannot be
run, 127 when it is not found, 125 when the engine refuses.`,
		Example: `  abode exec -it web sh
  abode exec -e NAME=value -w /tmp web env`,
		Args: atLeast(2),
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&detach, "detach", "d", false, "run it in the background")
	f.BoolVarP(&interactive, "interactive", "i", false, "keep stdin open")
	f.BoolVarP(&o.TTY, "tty", "t", false, "allocate a terminal")
	f.StringArrayVarP(&env, "env", "e", nil, "set an environment variable")
	f.StringArrayVar(&envFiles, "env-file", nil, "read environment variables from a file")
	f.StringVarP(&o.User, "user", "u", "", "user to run as (NAME|UID[:GROUP|GID])")
	f.StringVarP(&o.WorkingDir, "workdir", "w", "", "working directory in the container")
	f.BoolVar(&o.Privileged, "privileged", false, "give extended rights to the command")
	f.StringVar(&o.DetachKeys, "detach-keys", "", "keys that leave the command running (default ctrl-p,ctrl-q)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		var err error
		if o.Env, err = flags.Env(envFiles, env, os.LookupEnv); err != nil {
			return exit(125, usage(cmd, err))
		}
		o.Cmd = args[1:]
		o.DetachKeys = a.detachKeys(o.DetachKeys)
		if _, err := stream.DetachKeys(o.DetachKeys); err != nil {
			return exit(125, err)
		}
		if !detach {
			o.AttachStdin, o.AttachStdout, o.AttachStderr = interactive, true, true
		}
		if o.TTY && o.AttachStdin && !stream.IsTerminal(a.in) {
			return exit(1, errNoTerminal)
		}
		return a.exec(ctx, c, args[0], o, detach)
	})
	return cmd
}

func (a *app) exec(ctx context.Context, c *client.Client, name string, o client.ExecCreateOptions, detach bool) error {
	if o.TTY {
		o.ConsoleSize.Height, o.ConsoleSize.Width = stream.Size(a.out)
	}
	e, err := c.ExecCreate(ctx, name, o)
	if err != nil {
		return exit(startCodeOr(err, 1), err)
	}
	if e.ID == "" {
		return exit(125, fmt.Errorf("the engine gave no ID for the command"))
	}
	if detach {
		if _, err = c.ExecStart(ctx, e.ID, client.ExecStartOptions{Detach: true, TTY: o.TTY, ConsoleSize: o.ConsoleSize}); err != nil {
			return exit(startCode(err), err)
		}
		return nil
	}
	conn, err := c.ExecAttach(ctx, e.ID, client.ExecAttachOptions{TTY: o.TTY, ConsoleSize: o.ConsoleSize})
	if err != nil {
		return exit(startCode(err), err)
	}
	at := stream.Attachment{Out: a.out, TTY: o.TTY, DetachKeys: o.DetachKeys}
	if o.AttachStdin {
		at.In = a.in
	}
	if !o.TTY {
		at.Err = a.err
	} else {
		defer stream.Resizes(a.out, func(h, w uint) error {
			_, err := c.ExecResize(ctx, e.ID, client.ExecResizeOptions{Height: h, Width: w})
			return err
		})()
	}
	if err := at.Run(ctx, hijacked{conn.HijackedResponse}); errors.Is(err, stream.ErrDetached) {
		return nil
	} else if err != nil {
		return err
	}
	r, err := execEnd(ctx, c, e.ID)
	if err != nil {
		return exit(125, fmt.Errorf("cannot learn the command's exit code: %w", err))
	}
	if r.ExitCode != 0 {
		return exit(r.ExitCode, nil)
	}
	return nil
}

// execEnd is what became of a command whose output has ended. The engine may
// learn of its exit a moment after its streams were closed; one that goes on
// without streams is not waited for.
func execEnd(ctx context.Context, c *client.Client, id string) (client.ExecInspectResult, error) {
	pause := time.Millisecond
	for {
		r, err := c.ExecInspect(ctx, id, client.ExecInspectOptions{})
		if err != nil || !r.Running || pause > time.Second {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// startCodeOr is startCode with another code in place of 125.
func startCodeOr(err error, code int) int {
	if n := startCode(err); n != 125 {
		return n
	}
	return code
}
