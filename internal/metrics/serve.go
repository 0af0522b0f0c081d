package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Listen listens for Prometheus on a TCP address, HOST:PORT with a number for
// the port. What is served there changes nothing and names no container, but
// there is neither TLS nor a login, so an address that others can reach is
// said in the log. A host that is left out would be every address of this
// machine, and is refused: 0.0.0.0 says it.
func Listen(address string, log *slog.Logger) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("cannot serve metrics on %q: %w", address, err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fail(fmt.Errorf("%w; write it as 127.0.0.1:9323", err))
	}
	if host == "" {
		return fail(fmt.Errorf("it has no host; write 127.0.0.1:%s, or 0.0.0.0:%s for every address of this machine", port, port))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fail(fmt.Errorf("%q is no port; choose one from 1 to 65535, as in 127.0.0.1:9323", port))
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return fail(err)
	}
	l, err := net.ListenTCP("tcp", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("%w; end what listens there, or choose another port with --metrics-addr", err)
	}
	if err != nil {
		return fail(err)
	}
	if !addr.IP.IsLoopback() {
		log.Warn("metrics are served without TLS and without a login, to whoever reaches this address; a firewall, or a loopback address, keeps them private",
			"address", l.Addr().String())
	}
	return l, nil
}

// Serve answers GET /metrics on l with h, and everything else with 404, until
// stop is called. It closes l. Nobody can hold a connection without asking.
func Serve(l net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	srv := &http.Server{
		Handler: mux, MaxHeaderBytes: 16 << 10,
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Info("serving metrics", "address", l.Addr().String())
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more; containers are not touched by that", "error", err)
		}
	}()
	return func() {
		srv.Close() // a scrape that is cut off is made again
		<-done
	}
}
