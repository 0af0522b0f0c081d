package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/abode-run/abode/internal/version"
)

// noTraces keeps the API's client from looking for a trace exporter.
var noTraces = noop.NewTracerProvider()

// newRoot builds the tree of commands, as far as args need it.
func newRoot(a *app, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "abode",
		Short: "Run any OCI image on the kernel you choose",
		Long: `Abode runs any OCI image on the kernel you choose: as a container, which shares
the host's, or with --isolation vm on a kernel of its own. Everything else
(images, network, volumes, every verb) is the same for both.`,
		Example: `  abode run -it --rm alpine sh
  abode run -it --rm --isolation vm alpine sh`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		TraverseChildren:           true,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:                    version.Version,
	}
	root.SetVersionTemplate("abode {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit(125, fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath()))
	})
	root.PersistentFlags().StringVarP(&a.address, "host", "H", "", "engine to talk to (default $ABODE_HOST, else unix:///run/abode/abode.sock)")
	a.tls.register(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: groupContainers, Title: "Containers:"},
		&cobra.Group{ID: groupImages, Title: "Images:"},
		&cobra.Group{ID: groupRest, Title: "Volumes, networks, kernels, engine:"},
	)
	root.SetHelpCommandGroupID(groupRest)
	root.SetCompletionCommandGroupID(groupRest)
	for _, e := range entriesFor(args) {
		c := e.make(a)
		c.GroupID = e.group
		plainUsage(c)
		if completing(args) {
			a.complete(c)
			if e.name == "container" {
				for _, sub := range c.Commands() {
					a.complete(sub)
				}
			}
		}
		root.AddCommand(c)
	}
	root.SetArgs(args)
	return root
}

// plainUsage leaves out what cobra adds to a line that says [OPTIONS] already.
func plainUsage(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	for _, sub := range c.Commands() {
		plainUsage(sub)
	}
}

// completing tells that the shell asks for completions.
func completing(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// unknownCommand refuses arguments that name no command, with what was
// perhaps meant.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var hint string
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf("did you mean '%s %s'? ", cmd.CommandPath(), strings.Join(s, "', '"+cmd.CommandPath()+" "))
	}
	return fmt.Errorf("'%s' is not a command of %s; %ssee '%s --help'", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
}

// group makes a command that holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:                        use,
		Short:                      short,
		Args:                       unknownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// Argument counts, with Docker's wording.

func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 {
			return fmt.Errorf("'%s' accepts no arguments; see '%[1]s --help'", cmd.CommandPath())
		}
		return fmt.Errorf("'%s' requires %d %s; see '%[1]s --help'", cmd.CommandPath(), n, arguments(n))
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return fmt.Errorf("'%s' requires at least %d %s; see '%[1]s --help'", cmd.CommandPath(), n, arguments(n))
	}
}

func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= low && len(args) <= high {
			return nil
		}
		return fmt.Errorf("'%s' requires %d to %d arguments; see '%[1]s --help'", cmd.CommandPath(), low, high)
	}
}

func arguments(n int) string {
	if n == 1 {
		return "argument"
	}
	return "arguments"
}
