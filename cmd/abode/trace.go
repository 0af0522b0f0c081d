package main

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// begun is about when this program began.
var begun = time.Now()

// tracer gathers where the time of a command goes: in each request to the
// engine, and as the engine says of it in the header Server-Timing. Its hooks
// may be called concurrently.
type tracer struct {
	mu       sync.Mutex
	requests []*tracedRequest
}

type tracedRequest struct {
	name     string
	at, took time.Duration // took is 0 while there is no answer
	steps    []tracedStep
}

type tracedStep struct {
	name string
	took time.Duration
}

// traced makes a command's function trace itself if on is set by then.
func (a *app) traced(on *bool, run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if *on {
			a.trace = &tracer{}
			defer a.trace.print(a.err)
		}
		return run(cmd, args)
	}
}

func (t *tracer) options() []client.Opt {
	return []client.Opt{client.WithHTTPRequestHook(t.request), client.WithHTTPResponseHook(t.response)}
}

func (t *tracer) request(r *http.Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = append(t.requests, &tracedRequest{name: requestName(r), at: time.Since(begun)})
	return nil
}

func (t *tracer) response(r *http.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := requestName(r.Request)
	for _, q := range t.requests {
		if q.name == name && q.took == 0 {
			q.took = time.Since(begun) - q.at
			q.steps = serverTiming(r.Header.Get("Server-Timing"))
			return
		}
	}
}

// requestName is the last word of a request's path, which the API's verbs are.
func requestName(r *http.Request) string { return path.Base(r.URL.Path) }

// serverTiming reads "NAME;dur=MILLISECONDS, …".
func serverTiming(header string) (steps []tracedStep) {
	for field := range strings.SplitSeq(header, ",") {
		name, dur, ok := strings.Cut(strings.TrimSpace(field), ";dur=")
		if ms, err := strconv.ParseFloat(dur, 64); ok && err == nil {
			steps = append(steps, tracedStep{name, time.Duration(ms * float64(time.Millisecond))})
		}
	}
	return steps
}

// print tells it. What began last and has gone on since (waiting for the
// container's end) takes the rest.
func (t *tracer) print(w io.Writer) {
	total := time.Since(begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	line := func(at, took time.Duration, name string) {
		fmt.Fprintf(tw, "%s\t%s\t  %s\n", milliseconds(at), milliseconds(took), name)
	}
	fmt.Fprintf(tw, "at ms\ttook ms\t  \n")
	if len(t.requests) > 0 {
		line(0, t.requests[0].at, "command line")
	}
	answered := time.Duration(0)
	for _, q := range t.requests {
		if q.name == "wait" { // answers when it is registered, and again at the end
			continue
		}
		line(q.at, q.took, q.name)
		at := q.at
		for _, s := range q.steps {
			line(at, s.took, "  "+s.name)
			at += s.took
		}
		answered = max(answered, q.at+q.took)
	}
	if len(t.requests) > 0 {
		line(answered, total-answered, "run and end")
	}
	line(0, total, "total")
	tw.Flush()
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
}
