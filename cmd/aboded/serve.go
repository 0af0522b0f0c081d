package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/abode-run/abode/internal/api"
)

const (
	// shutdownTimeout is for requests under way when the daemon is told to end.
	// Streams that have no end by themselves are cut off then.
	shutdownTimeout = 3 * time.Second
	closeTimeout    = 60 * time.Second
)

// defaultHost is the address of the API: systemd's socket when it passes one.
func defaultHost(run string) string {
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		return "fd://"
	}
	return "unix://" + filepath.Join(run, "abode.sock")
}

// serve serves the API on all addresses until ctx ends or one of them fails.
func serve(ctx context.Context, h http.Handler, o options, log *slog.Logger) error {
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for _, host := range o.hosts {
		ls, err := api.Listen(host, o.access)
		if err != nil {
			closeAll()
			return err
		}
		listeners = append(listeners, ls...)
	}
	srv := api.NewServer(h, log)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return base }

	failed := make(chan error, len(listeners))
	var wg sync.WaitGroup
	for _, l := range listeners {
		log.Info("serving the API", "address", l.Addr().String())
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	if err := notifyReady(); err != nil {
		log.Warn("the service manager cannot be told that the daemon is ready", "error", err)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	sctx, scancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer scancel()
	if srv.Shutdown(sctx) != nil {
		cancel() // what follows logs or events has no end of its own
		srv.Close()
	}
	wg.Wait()
	return err
}

// notifyReady tells systemd that the daemon serves (sd_notify(3)).
func notifyReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
