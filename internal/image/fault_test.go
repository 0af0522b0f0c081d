package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// A faulty is a proxy before a registry that spoils some answers.
type faulty struct {
	*httptest.Server
	registry string

	mu     sync.Mutex
	ranges []string // Range headers of requests for blobs
	fault  fault
	seen   map[string]int
}

// A fault spoils the body of an answer to GET and returns true, or passes it
// on. n counts the requests for that path from 1.
type fault func(path string, n int, w http.ResponseWriter, body []byte) bool

// spoil sets the fault; nil is none.
func (p *faulty) spoil(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func newFaulty(t testing.TB, registry string) *faulty {
	p := &faulty{registry: registry, seen: map[string]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *faulty) addr() string { return strings.TrimPrefix(p.URL, "http://") }

// ServeHTTP implements http.Handler.
func (p *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, _ := http.NewRequestWithContext(r.Context(), r.Method, "http://"+p.registry+r.URL.RequestURI(), nil)
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	p.mu.Lock()
	p.seen[r.URL.Path]++
	n, fault := p.seen[r.URL.Path], p.fault
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		p.ranges = append(p.ranges, r.Header.Get("Range"))
	}
	p.mu.Unlock()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	if r.Method == http.MethodGet && fault != nil {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if fault(r.URL.Path, n, &once{ResponseWriter: w, status: resp.StatusCode}, body) {
			return
		}
	}
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
}

// once writes the status before the first byte.
type once struct {
	http.ResponseWriter
	status int
	done   bool
}

func (o *once) Write(p []byte) (int, error) {
	if !o.done {
		o.done = true
		o.ResponseWriter.WriteHeader(o.status)
	}
	n, err := o.ResponseWriter.Write(p)
	o.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// cut sends the first part of body, and then breaks the connection.
func cut(w http.ResponseWriter, body []byte, n int) bool {
	w.Write(body[:min(n, len(body))])
	panic(http.ErrAbortHandler)
}

// oneLayer pushes an image whose last layer is large, and returns its digest.
func oneLayer(t testing.TB, registry, name string) string {
	t.Helper()
	l := newLayout(t)
	m := l.image("", testLayer{baseLayer(t), gzipped}, testLayer{makeTar(t, file{name: "big", data: noise(9, 2<<20)}), gzipped})
	push(t, l.name("x", m), registry+"/"+name, "--preserve-digests")
	raw, err := os.ReadFile(filepath.Join(l.dir, "blobs/sha256", m.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err := parseDocument(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return doc.Layers[1].Digest.String()
}

// TestPullResumesWithin cuts the connection within one pull, again and again.
func TestPullResumesWithin(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) && n < 8 {
			return cut(w, body, 300<<10)
		}
		return false
	})
	s := newStore(t)
	if _, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil); err != nil {
		t.Fatal(err)
	}
	resumed := 0
	for _, r := range p.ranges {
		if r != "" {
			resumed++
		}
	}
	if resumed < 3 {
		t.Errorf("the ranges asked for were %q", p.ranges)
	}
}

// TestPullResumesLater breaks a pull off and resumes it in another process's
// place: with the store opened anew.
func TestPullResumesLater(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) {
			if n == 1 {
				return cut(w, body, 1<<20)
			}
			return cut(w, body, 0)
		}
		return false
	})
	dir := t.TempDir()
	s := openStore(t, dir)
	_, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil)
	wantErr(t, err, errdefs.ErrUnavailable)
	s.Close()
	p.spoil(nil)
	p.mu.Lock()
	p.ranges = nil
	p.mu.Unlock()

	s = openStore(t, dir)
	if _, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(p.ranges) != 1 || !strings.HasPrefix(p.ranges[0], "bytes=") || p.ranges[0] == "bytes=0-" {
		t.Errorf("after the cut, blobs were asked for with the ranges %q; want one, resumed", p.ranges)
	}
	if _, err := s.Remove(context.Background(), p.addr()+"/f:1", false, nobody); err != nil {
		t.Fatal(err)
	}
	s.empty(t)
}

// TestPullVerifies flips a byte, of each kind of content in turn.
func TestPullVerifies(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	for _, part := range []string{big, "/manifests/", "/blobs/"} {
		p := newFaulty(t, addr)
		p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
			if strings.Contains(path, part) {
				body[len(body)/2] ^= 1
				w.Write(body)
				return true
			}
			return false
		})
		s := newStore(t)
		_, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil)
		wantErr(t, err, errdefs.ErrDataLoss, "cannot pull")
		if !errors.Is(err, errVerify) {
			t.Errorf("%s: %v", part, err)
		}
		s.empty(t)
	}
}

// TestPullRepairs resumes over a damaged unfinished download.
func TestPullRepairs(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) && n == 1 {
			body[0] ^= 1
			return cut(w, body, 1<<20)
		}
		return strings.HasSuffix(path, big) && cut(w, body, 0)
	})
	s := newStore(t)
	_, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil)
	wantErr(t, err, errdefs.ErrUnavailable)
	p.spoil(nil)
	if _, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestPullCannotWrite pulls to where no layer can be written: that is no fault of
// the registry, which is not asked again.
func TestPullCannotWrite(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	s := newStore(t)
	if err := os.RemoveAll(filepath.Join(s.dir, "layers")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil)
	wantErr(t, err, os.ErrNotExist, "cannot unpack layer")
	for path, n := range p.seen {
		if strings.HasSuffix(path, big) && n > 1 {
			t.Errorf("the layer was asked for %d times", n)
		}
	}
	s.empty(t)
}

// TestPullStalls pulls from a registry that falls silent once.
func TestPullStalls(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	big := oneLayer(t, addr, "f:1")
	p := newFaulty(t, addr)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	p.spoil(func(path string, n int, w http.ResponseWriter, body []byte) bool {
		if strings.HasSuffix(path, big) && n == 1 {
			w.Write(body[:1000])
			<-release
			return true
		}
		return false
	})
	s := newStore(t)
	s.stall = 200 * time.Millisecond
	if _, err := s.Pull(context.Background(), p.addr()+"/f:1", "", nil, nil); err != nil {
		t.Fatal(err)
	}
}
