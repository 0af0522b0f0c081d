package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/stream"
)

func newStart(a *app) *cobra.Command {
	var attach, interactive, sigProxy bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start stopped containers",
		Long: `Start containers that are created or stopped. With -a the output of one is
shown until it ends, and its exit code is that of this command.`,
		Example: `  abode start web
  abode start -ai shell`,
		Args: atLeast(1),
	}
	f := cmd.Flags()
	f.BoolVarP(&attach, "attach", "a", false, "attach to stdout and stderr, and pass signals on")
	f.BoolVarP(&interactive, "interactive", "i", false, "attach to stdin")
	f.BoolVar(&sigProxy, "sig-proxy", true, "pass signals on to the container")
	f.StringVar(&detachKeys, "detach-keys", "", "keys that leave the container running (default ctrl-p,ctrl-q)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if !attach && !interactive {
			return a.each(args, func(name string) error {
				_, err := c.ContainerStart(ctx, name, client.ContainerStartOptions{})
				return err
			})
		}
		if len(args) > 1 {
			return errors.New("you cannot start and attach multiple containers at once")
		}
		i, err := c.ContainerInspect(ctx, args[0], client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		s, err := a.sessionOf(i, interactive, a.detachKeys(detachKeys))
		if err != nil {
			return err
		}
		if i.Container.State != nil && i.Container.State.Running {
			s.start = false
		} else {
			s.start = true
		}
		s.stdout, s.stderr, s.sigProxy = true, true, sigProxy
		if err := a.foreground(ctx, c, s); err != nil {
			var e *exitError
			if errors.As(err, &e) && e.err != nil && e.code == 125 {
				return exit(1, e.err)
			}
			return err
		}
		return nil
	})
	return cmd
}

// sessionOf is a foreground session of an inspected container.
func (a *app) sessionOf(i client.ContainerInspectResult, stdin bool, keys string) (session, error) {
	ctr := i.Container
	s := session{id: ctr.ID, detachKeys: keys}
	if ctr.Config != nil {
		s.tty = ctr.Config.Tty
		s.stdin = stdin && ctr.Config.OpenStdin
	}
	if ctr.HostConfig != nil {
		s.autoRemove = ctr.HostConfig.AutoRemove
	}
	if _, err := stream.DetachKeys(keys); err != nil {
		return s, err
	}
	if s.tty && s.stdin && !stream.IsTerminal(a.in) {
		return s, errNoTerminal
	}
	return s, nil
}

func newAttach(a *app) *cobra.Command {
	var noStdin, sigProxy bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Connect the terminal to a running container",
		Long: `Connect stdin, stdout and stderr to a running container's until it ends, or
until ctrl-p,ctrl-q is typed. The container's exit code is that of this
command.`,
		Example: `  abode attach shell
  abode attach --no-stdin web`,
		Args: exactly(1),
	}
	f := cmd.Flags()
	f.BoolVar(&noStdin, "no-stdin", false, "leave stdin out")
	f.BoolVar(&sigProxy, "sig-proxy", true, "pass signals on to the container")
	f.StringVar(&detachKeys, "detach-keys", "", "keys that leave the container running (default ctrl-p,ctrl-q)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		i, err := c.ContainerInspect(ctx, args[0], client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		if st := i.Container.State; st != nil {
			switch {
			case !st.Running:
				return fmt.Errorf("cannot attach to a stopped container, start it first: abode start -a %s", args[0])
			case st.Paused:
				return fmt.Errorf("cannot attach to a paused container, unpause it first: abode unpause %s", args[0])
			case st.Restarting:
				return errors.New("cannot attach to a restarting container, wait until it is running")
			}
		}
		s, err := a.sessionOf(i, !noStdin, a.detachKeys(detachKeys))
		if err != nil {
			return err
		}
		s.autoRemove = false // its end is waited for, which its removal follows
		s.stdout, s.stderr, s.sigProxy = true, true, sigProxy
		return a.foreground(ctx, c, s)
	})
	return cmd
}
