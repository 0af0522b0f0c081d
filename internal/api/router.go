package api

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/image"
)

// handler serves one endpoint. An error that it returns becomes the response,
// or aborts the connection when a response was under way. The path's variables
// are in mux.Vars(r).
type handler func(w http.ResponseWriter, r *http.Request) error

// server is what the handlers share. It holds no state of requests.
type server struct {
	engine   *engine.Engine
	log      *slog.Logger
	hostsDir string
	metrics  http.Handler // nil: there are none
}

// An Option changes what New makes.
type Option func(*server)

// HostsDir tells where registries' hosts.toml files are; empty: the image
// store's default. It should be what the engine was opened with.
func HostsDir(dir string) Option {
	return func(s *server) {
		if dir != "" {
			s.hostsDir = dir
		}
	}
}

// Metrics serves what Prometheus scrapes.
func Metrics(h http.Handler) Option {
	return func(s *server) { s.metrics = h }
}

// route is one endpoint. Paths are without the version prefix.
type route struct {
	method, path string
	handler      handler
}

// New returns the handler of the whole API. It may be served on several
// listeners at once, with Server or any other http.Server.
func New(e *engine.Engine, log *slog.Logger, opts ...Option) http.Handler {
	s := &server{engine: e, log: log, hostsDir: image.DefaultHostsDir}
	for _, o := range opts {
		o(s)
	}
	return s.handler(s.routes())
}

// routes lists every endpoint. The order matters where a variable with
// slashes (image names) could swallow a later path: fixed paths come first.
func (s *server) routes() []route {
	var all []route
	for _, rs := range [][]route{
		s.systemRoutes(),
		s.containerRoutes(),
		s.execRoutes(),
		s.imageRoutes(),
		s.volumeRoutes(),
		s.networkRoutes(),
		s.abodeRoutes(),
		s.unsupportedRoutes(),
	} {
		all = append(all, rs...)
	}
	return all
}

// handler puts the routes behind one router and the wrapping that all of them have.
func (s *server) handler(routes []route) http.Handler {
	m := mux.NewRouter()
	for _, rt := range routes {
		m.NewRoute().Methods(rt.method).Path(rt.path).Handler(s.serve(rt.handler))
	}
	// As dockerd: a known path with a wrong method is unknown too.
	m.NotFoundHandler = s.serve(func(http.ResponseWriter, *http.Request) error {
		return notFound("page not found")
	})
	m.MethodNotAllowedHandler = m.NotFoundHandler
	return s.recovered(s.versioned(m))
}

// serve turns a handler into an http.Handler.
func (s *server) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.finish(w, r, h(w, r))
	})
}

// finish ends a request whose handler has returned err.
func (s *server) finish(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		return
	}
	rec, _ := w.(*response)
	attrs := []any{"method", r.Method, "path", r.URL.Path, "status", status(err), "error", err}
	switch {
	case r.Context().Err() != nil:
		s.log.Debug("client hung up", attrs...)
	case status(err) == http.StatusInternalServerError:
		s.log.Error("request failed", attrs...)
	default:
		s.log.Debug("request refused", attrs...)
	}
	if rec != nil && rec.hijacked {
		return
	}
	if rec != nil && rec.started {
		// The status is out. A broken connection is the only way left to say
		// that the body is not all there is.
		panic(http.ErrAbortHandler)
	}
	if r.Body != nil && r.Body != http.NoBody {
		leaveBody(http.NewResponseController(w))
	}
	writeError(w, err)
}

// cleanPath keeps log lines and messages to one line.
func cleanPath(p string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, p)
}
