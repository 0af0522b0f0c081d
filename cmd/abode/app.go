package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/daemon"
	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/version"
)

// app is what the commands share: the streams and the way to the engine.
type app struct {
	in       *os.File
	out, err *os.File
	address  string // --host

	engine *daemon.Host
	api    *client.Client
}

func newApp() *app {
	return &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
}

// client returns the API's client. Nothing is dialled yet: the first request
// does that, and starts the engine if need be.
func (a *app) client() (*client.Client, error) {
	if a.api != nil {
		return a.api, nil
	}
	host := a.host()
	c, err := client.New(
		client.WithHost(host.Address),
		client.WithDialContext(host.Dial),
		client.WithUserAgent("abode/"+version.Version),
		client.WithTraceProvider(noTraces),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot use the engine's address %q: %w; expected unix:///PATH or tcp://HOST:PORT", host.Address, err)
	}
	a.api = c
	return c, nil
}

// host is the engine of --host, else of ABODE_HOST, else the default one.
func (a *app) host() *daemon.Host {
	if a.engine == nil {
		address := a.address
		if address == "" {
			address = os.Getenv("ABODE_HOST")
		}
		if address == "" {
			address = daemon.DefaultHost
		}
		if strings.HasPrefix(address, "/") {
			address = "unix://" + address
		}
		a.engine = &daemon.Host{Address: address, Getenv: os.Getenv}
	}
	return a.engine
}

// unreachable is the reason when err is about reaching the engine, else nil.
func (a *app) unreachable(err error) error {
	if a.engine == nil {
		return nil
	}
	return a.engine.Failure()
}

// action is what a command does with the engine.
type action func(ctx context.Context, c *client.Client, args []string) error

// withClient makes a cobra function of an action.
func (a *app) withClient(do action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, args)
	}
}

// each does something to every argument, prints the name of each that went
// well, and returns the failures of the others.
func (a *app) each(args []string, do func(name string) error) error {
	var failed []string
	for _, name := range args {
		if err := do(name); err != nil {
			if a.unreachable(err) != nil {
				return err
			}
			failed = append(failed, a.explain(err))
			continue
		}
		fmt.Fprintln(a.out, name)
	}
	if failed != nil {
		return fmt.Errorf("%s", strings.Join(failed, "\nabode: "))
	}
	return nil
}

// confirm asks a question that y answers; without a terminal's yes it is no.
func (a *app) confirm(question string) bool {
	fmt.Fprintf(a.out, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil && err != io.EOF {
		return false
	}
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// filters makes the client's filters of --filter values.
func filters(values []string) (client.Filters, error) {
	f, err := flags.Filters(values)
	return client.Filters(f), err
}

// warn prints the engine's warnings.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.err, "WARNING: %s\n", strings.TrimPrefix(w, "WARNING: "))
	}
}
