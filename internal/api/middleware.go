package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/abode-run/abode/internal/version"
)

// response remembers how far a response has come.
type response struct {
	http.ResponseWriter
	started  bool
	hijacked bool
}

func (w *response) WriteHeader(code int) {
	w.started = w.started || code >= 200
	w.ResponseWriter.WriteHeader(code)
}

func (w *response) Write(p []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(p)
}

// Flush sends what was written so far.
func (w *response) Flush() {
	w.started = true
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes the connection over.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController reach deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recovered answers a panic with 500 and logs it; the daemon goes on.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: rw}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			s.log.Error("request panicked", "method", r.Method, "path", cleanPath(r.URL.Path), "panic", v, "stack", string(debug.Stack()))
			if w.hijacked {
				return
			}
			if w.started {
				panic(http.ErrAbortHandler)
			}
			writeError(w, errors.New("the daemon failed unexpectedly while it served this request; its log says more"))
		}()
		next.ServeHTTP(w, r)
	})
}

type versionKey struct{}

// versioned sets the headers that every response has, takes the version prefix
// off the path and refuses versions that are not served.
func (s *server) versioned(next http.Handler) http.Handler {
	server := "Abode/" + version.Version + " (" + runtime.GOOS + ")"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", server)
		h.Set("Api-Version", newestVersion.String())
		h.Set("Ostype", runtime.GOOS)
		h.Set("Docker-Experimental", "false")

		v, rest, ok := cutVersion(r.URL.Path)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if err := v.supported(); err != nil {
			s.finish(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), versionKey{}, v))
		u := *r.URL
		u.Path, u.RawPath = rest, ""
		if raw := r.URL.RawPath; raw != "" {
			// The prefix has no escapes, so it is as long in the raw path.
			u.RawPath = strings.TrimPrefix(raw, r.URL.Path[:len(r.URL.Path)-len(rest)])
		}
		r.URL = &u
		next.ServeHTTP(w, r)
	})
}

// requested is the API version that the client asked for; the newest without a prefix.
func requested(r *http.Request) apiVersion {
	if v, ok := r.Context().Value(versionKey{}).(apiVersion); ok {
		return v
	}
	return newestVersion
}
