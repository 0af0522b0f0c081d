package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newStop(a *app) *cobra.Command {
	var signal string
	var timeout int
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Stop running containers",
		Long: `Send each container its stop signal (SIGTERM unless the image or --stop-signal
says otherwise), and SIGKILL if it still runs after a while: 10 seconds
unless --stop-timeout or --timeout says otherwise.`,
		Example: `  abode stop web
  abode stop -t 1 web db`,
		Args: atLeast(1),
	}
	stopFlags(cmd, &signal, &timeout)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		o := client.ContainerStopOptions{Signal: signal, Timeout: given(cmd, &timeout)}
		return a.each(args, func(name string) error {
			_, err := c.ContainerStop(ctx, name, o)
			return err
		})
	})
	return cmd
}

func newRestart(a *app) *cobra.Command {
	var signal string
	var timeout int
	cmd := &cobra.Command{
		Use:   "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Stop containers and start them again",
		Long:  `Stop containers as 'abode stop' does, and start them again.`,
		Example: `  abode restart web
  abode restart -t 0 web`,
		Args: atLeast(1),
	}
	stopFlags(cmd, &signal, &timeout)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		o := client.ContainerRestartOptions{Signal: signal, Timeout: given(cmd, &timeout)}
		return a.each(args, func(name string) error {
			_, err := c.ContainerRestart(ctx, name, o)
			return err
		})
	})
	return cmd
}

func stopFlags(cmd *cobra.Command, signal *string, timeout *int) {
	cmd.Flags().StringVarP(signal, "signal", "s", "", "signal to send first")
	cmd.Flags().IntVarP(timeout, "timeout", "t", 0, "seconds until it is killed; -1 to wait for as long as it takes")
	cmd.Flags().IntVar(timeout, "time", 0, "same as --timeout")
	_ = cmd.Flags().MarkHidden("time")
}

// given is the timeout if a flag set it, else nil: the container's own.
func given(cmd *cobra.Command, timeout *int) *int {
	if cmd.Flags().Changed("timeout") || cmd.Flags().Changed("time") {
		return timeout
	}
	return nil
}

func newKill(a *app) *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Send a signal to running containers",
		Long:  `Send a signal, SIGKILL unless -s says otherwise, to the main process of containers.`,
		Example: `  abode kill web
  abode kill -s HUP web`,
		Args: atLeast(1),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "signal, by name or number (default SIGKILL)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.each(args, func(name string) error {
			_, err := c.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: signal})
			return err
		})
	})
	return cmd
}

func newPause(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "pause CONTAINER [CONTAINER...]",
		Short:   "Freeze all processes of containers",
		Long:    `Freeze all processes of containers until 'abode unpause'.`,
		Example: `  abode pause web`,
		Args:    atLeast(1),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error {
				_, err := c.ContainerPause(ctx, name, client.ContainerPauseOptions{})
				return err
			})
		}),
	}
}

func newUnpause(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "unpause CONTAINER [CONTAINER...]",
		Short:   "Let the processes of paused containers go on",
		Long:    `Let the processes of paused containers go on.`,
		Example: `  abode unpause web`,
		Args:    atLeast(1),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error {
				_, err := c.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{})
				return err
			})
		}),
	}
}

func newWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER [CONTAINER...]",
		Short: "Wait for containers to end, and print their exit codes",
		Long:  `Wait for containers to end, and print their exit codes, one a line.`,
		Example: `  abode wait job
  test "$(abode wait job)" = 0`,
		Args: atLeast(1),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			return a.wordsFor(args, func(name string) (string, error) {
				return waitFor(ctx, c, name)
			})
		}),
	}
}

func waitFor(ctx context.Context, c *client.Client, name string) (string, error) {
	w := c.ContainerWait(ctx, name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-w.Result:
		return exitCodeOf(r)
	case err := <-w.Error:
		return "", err
	}
}

func exitCodeOf(r container.WaitResponse) (string, error) {
	if r.Error != nil {
		return "", errors.New(r.Error.Message)
	}
	return strconv.FormatInt(r.StatusCode, 10), nil
}
