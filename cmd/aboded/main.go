// Aboded is the daemon: it owns a root directory, runs the engine on it and
// serves the API. This program is wiring only.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/abode-run/abode/internal/api"
	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/metrics"
	"github.com/abode-run/abode/internal/rest"
	"github.com/abode-run/abode/internal/tracing"
)

func main() {
	opts, err := parse(os.Args[1:])
	if errors.Is(err, errHelp) {
		return
	}
	if err == nil {
		err = run(opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "aboded:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root for namespaces, networks and mounts: run it with sudo, or as a service (systemctl start abode)")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: o.level}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// A client that hangs up, and a closed terminal, are no reason to end.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)

	var scraped net.Listener
	if o.metricsAddr != "" { // an address that is taken is said before anything is touched
		var err error
		if scraped, err = metrics.Listen(o.metricsAddr, log); err != nil {
			return err
		}
		defer scraped.Close()
	}
	observer, keeper := metrics.New(), rest.New()
	cfg := o.config(log)
	cfg.Observer = ends{observer, keeper}
	tracer, err := traces(ctx, log)
	if err != nil {
		return err
	}
	if tracer != nil {
		cfg.Tracer = tracer
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
			defer cancel()
			if err := tracer.Close(ctx); err != nil {
				log.Warn("the last traces were not sent", "error", err)
			}
		}()
	}
	e, err := engine.Open(ctx, cfg)
	if err != nil {
		return err
	}
	scrape := observer.Handler(e.Figures, log)
	if scraped != nil {
		defer metrics.Serve(scraped, scrape, log)()
	}
	h := api.New(e, log, api.Metrics(scrape))
	if tracer != nil {
		h = tracer.Handler(h)
	}
	err = serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer keeper.Done()
		h.ServeHTTP(w, r)
	}), o, log)
	log.Info("ending; containers that run go on")
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(err, e.Close(ctx))
}

// tracesTimeout is how long a collector may keep the daemon from ending.
const tracesTimeout = 2 * time.Second

// traces is what sends them; nil: nobody asked for them.
func traces(ctx context.Context, log *slog.Logger) (*tracing.Tracer, error) {
	if !tracing.Configured() {
		return nil, nil
	}
	return tracing.New(ctx, log)
}

// ends tells the keeper of what happens without a request.
type ends struct {
	engine.Observer
	keeper *rest.Keeper
}

func (e ends) Ended(wall kernel.Isolation) {
	e.Observer.Ended(wall)
	e.keeper.Done()
}
