// Command abode is the command line of Abode: it runs any OCI image as a
// container or, with --isolation vm, on a kernel of its own. It is a client
// of the engine's API and holds nothing of the engine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/abode-run/abode/internal/cli/stream"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main with its exit code returned.
func run(args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go giveUp(ctx)
	defer stream.RestoreAll()
	a := newApp()
	err := newRoot(a, args).ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130 // 128 + SIGINT, as a shell reports it
	}
	stream.RestoreAll()
	fmt.Fprintf(os.Stderr, "abode: %s\n", a.explain(err))
	return code
}

// giveUp ends the program at the third signal that asks for its end, for a
// command that doesn't come to its own after the first.
func giveUp(ctx context.Context) {
	<-ctx.Done()
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	<-ch
	<-ch
	stream.RestoreAll()
	fmt.Fprint(os.Stderr, "\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n")
	os.Exit(1)
}

// exitError ends the program with a code; a nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit wraps err, which may be nil, with an exit code.
func exit(code int, err error) error { return &exitError{code, err} }

// explain is the text of an error for the user.
func (a *app) explain(err error) string {
	if failure := a.unreachable(err); failure != nil {
		return failure.Error()
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // bare: nothing says what ended
		return "the engine ended its answer too early: " + err.Error() + "; it may have ended itself, see its log"
	}
	return strings.ReplaceAll(err.Error(), "Error response from daemon: ", "")
}
