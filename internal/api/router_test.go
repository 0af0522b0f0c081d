package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/gorilla/mux"
)

// testServer serves routes alone, without an engine.
func testServer(t *testing.T, routes ...route) (*httptest.Server, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	s := &server{log: slog.New(slog.NewTextHandler(log, nil))}
	srv := httptest.NewServer(s.handler(routes))
	t.Cleanup(srv.Close)
	return srv, log
}

// logBuffer is a bytes.Buffer for concurrent use.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func get(t *testing.T, url string) (code int, header http.Header, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestVersionPrefix(t *testing.T) {
	srv, _ := testServer(t, route{"GET", "/x/{name:.*}/json", func(w http.ResponseWriter, r *http.Request) error {
		fmt.Fprintf(w, "%s %s", requested(r), mux.Vars(r)["name"])
		return nil
	}})
	for path, want := range map[string]string{
		"/x/a/json":                  "200 1.56 a",
		"/v1.24/x/a/json":            "200 1.24 a",
		"/v1.41/x/reg.io/a/b:c/json": "200 1.41 reg.io/a/b:c",
		"/v1.56/x/v1.41/json":        "200 1.56 v1.41",
		"/v1.41/x/a%2Fb/json":        "200 1.41 a/b",
		"/v1.23/x/a/json":            `400 {"message":"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"}`,
		"/v1.57/x/a/json":            `400 {"message":"client version 1.57 is too new. Maximum supported API version is 1.56"}`,
		"/v2.0/x/a/json":             `400 {"message":"client version 2.0 is too new. Maximum supported API version is 1.56"}`,
		"/vx/x/a/json":               `404 {"message":"page not found"}`,
		"/v1.41":                     `404 {"message":"page not found"}`,
		"/v1.99999/x/a/json":         `404 {"message":"page not found"}`,
		"/y":                         `404 {"message":"page not found"}`,
	} {
		code, header, body := get(t, srv.URL+path)
		if got := fmt.Sprint(code, " ", strings.TrimSpace(body)); got != want {
			t.Errorf("GET %s: got %s, want %s", path, got, want)
		}
		if header.Get("Api-Version") != "1.56" || header.Get("Ostype") != "linux" || !strings.HasPrefix(header.Get("Server"), "Abode/") {
			t.Errorf("GET %s: the headers are incomplete: %v", path, header)
		}
	}
	resp, err := http.Post(srv.URL+"/x/a/json", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a known path with a wrong method: got %d, want 404 as from dockerd", resp.StatusCode)
	}
}

// TestRoutes finds routes that an earlier one swallows, and paths that mux does not take.
func TestRoutes(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	m := mux.NewRouter()
	for _, rt := range s.routes() {
		m.NewRoute().Methods(rt.method).Path(rt.path).Name(rt.method + " " + rt.path)
	}
	seen := map[string]bool{}
	for _, rt := range s.routes() {
		name := rt.method + " " + rt.path
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		path := strings.NewReplacer("{name}", "n1", "{id}", "i1", "{name:.*}", "reg.io/a/b:c", "{rest:.*}", "r", "{checkpoint}", "c").Replace(rt.path)
		var match mux.RouteMatch
		if !m.Match(httptest.NewRequest(rt.method, path, nil), &match) || match.Route == nil {
			t.Errorf("%s: nothing serves %s", name, path)
			continue
		}
		if got := match.Route.GetName(); got != name {
			t.Errorf("%s %s is served by %q, not %q", rt.method, path, got, name)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err     error
		status  int
		message string
	}{
		{fmt.Errorf("no such container: x: %w", errdefs.ErrNotFound), 404, "no such container: x"},
		{fmt.Errorf("cannot start x: %w", fmt.Errorf("name taken: %w", errdefs.ErrConflict)), 409, "cannot start x: name taken"},
		{fmt.Errorf("%w: bad", errdefs.ErrInvalidArgument), 400, "bad"},
		{fmt.Errorf("is not running: %w", errdefs.ErrFailedPrecondition), 409, "is not running"},
		{errdefs.ErrNotModified, 304, ""},
		{fmt.Errorf("no: %w", errdefs.ErrPermissionDenied), 403, "no"},
		{fmt.Errorf("no: %w", errdefs.ErrUnauthenticated), 401, "no"},
		{fmt.Errorf("no: %w", errdefs.ErrNotImplemented), 501, "no"},
		{fmt.Errorf("no: %w", errdefs.ErrUnavailable), 503, "no"},
		{errors.New("x"), 500, "x"},
		{errdefs.ErrNotFound, 404, "not found"},
		{invalid("y"), 400, "y"},
		{&http.MaxBytesError{Limit: 1}, 413, "http: request body too large"},
	} {
		rec := httptest.NewRecorder()
		writeError(rec, c.err)
		if rec.Code != c.status {
			t.Errorf("%v: got %d, want %d", c.err, rec.Code, c.status)
		}
		if c.status == 304 {
			if rec.Body.Len() > 0 {
				t.Errorf("304 has a body: %s", rec.Body)
			}
			continue
		}
		var body struct{ Message string }
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Message != c.message {
			t.Errorf("%v: got %s (%v), want the message %q", c.err, rec.Body, err, c.message)
		}
		if rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%v: the content type is %q", c.err, rec.Header().Get("Content-Type"))
		}
	}
}

func TestPanic(t *testing.T) {
	srv, log := testServer(t,
		route{"GET", "/before", func(w http.ResponseWriter, r *http.Request) error { panic("boom one") }},
		route{"GET", "/after", func(w http.ResponseWriter, r *http.Request) error {
			fmt.Fprint(w, "a part")
			w.(http.Flusher).Flush()
			panic("boom two")
		}},
		route{"GET", "/error", func(w http.ResponseWriter, r *http.Request) error {
			fmt.Fprint(w, "a part")
			w.(http.Flusher).Flush()
			return errors.New("half-way")
		}},
	)
	code, _, body := get(t, srv.URL+"/before")
	if code != 500 || strings.Contains(body, "boom") || !strings.Contains(body, `{"message":`) {
		t.Errorf("a panic was answered with %d %s", code, body)
	}
	for _, path := range []string{"/after", "/error"} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s: a response that broke off looks whole: %q", path, b)
		}
	}
	for _, want := range []string{"boom one", "boom two", "router_test.go", "half-way"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %q", want)
		}
	}
}
