package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
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
	tls      certificates

	trace *tracer // nil: nothing is traced

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
	opts := []client.Opt{
		client.WithHost(host.Address),
		client.WithDialContext(host.Dial),
		client.WithUserAgent("abode/" + version.Version),
		client.WithTraceProvider(noTraces),
	}
	if parent := os.Getenv("TRACEPARENT"); isTraceparent(parent) {
		opts = append(opts, client.WithHTTPHeaders(map[string]string{"Traceparent": parent}))
	}
	if a.trace != nil {
		opts = append(opts, a.trace.options()...)
	}
	hint := "; expected unix:///PATH or tcp://HOST:PORT"
	if strings.HasPrefix(host.Address, "tcp://") {
		hint = ""
		tls, err := a.tls.option(os.Getenv("ABODE_CERT_PATH"))
		if err != nil {
			return nil, fmt.Errorf("cannot use the engine at %s: %w", host.Address, err)
		}
		opts = append(opts, tls)
	}
	c, err := client.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot use the engine at %s: %w%s", host.Address, err, hint)
	}
	a.api = c
	return c, nil
}

// isTraceparent says whether s is W3C's name of a trace and of a span in it.
// What runs the CLI passes it on, so that the engine's spans are in its trace.
func isTraceparent(s string) bool {
	return len(s) == 55 && strings.Trim(s, "0123456789abcdef-") == ""
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
	return a.wordsFor(args, func(name string) (string, error) { return name, do(name) })
}

// wordsFor is each with words of do's in place of the names.
func (a *app) wordsFor(args []string, do func(name string) (string, error)) error {
	var failed []string
	for _, name := range args {
		word, err := do(name)
		switch {
		case err == nil:
			fmt.Fprintln(a.out, word)
		case errors.Is(err, errTolerated):
		case a.unreachable(err) != nil || errors.Is(err, context.Canceled):
			return err
		default:
			failed = append(failed, a.explain(err))
		}
	}
	if failed != nil {
		return errors.New(strings.Join(failed, "\nabode: "))
	}
	return nil
}

// errTolerated is an error that was printed, and is not one of the program.
var errTolerated = errors.New("tolerated")

// tolerate prints that something doesn't exist, and lets it pass with force.
func (a *app) tolerate(err error, force bool) error {
	if force && errdefs.IsNotFound(err) {
		fmt.Fprintf(a.err, "abode: %s\n", a.explain(err))
		return errTolerated
	}
	return err
}

// confirm asks a question that y answers; without a terminal's yes it is no.
func (a *app) confirm(question string) bool {
	fmt.Fprintf(a.out, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil {
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
