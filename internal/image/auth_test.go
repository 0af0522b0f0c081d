package image

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
)

// gate is a front of a registry that asks for a login.
type gate struct {
	registry *faulty
	server   *httptest.Server
	tokens   bool // ask for a bearer token, not for a password

	mu   sync.Mutex
	seen []string // Authorization headers
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	auth := r.Header.Get("Authorization")
	g.mu.Lock()
	g.seen = append(g.seen, auth)
	g.mu.Unlock()
	if r.URL.Path == "/token" {
		user, secret, _ := r.BasicAuth()
		r.ParseForm()
		if r.Form.Get("refresh_token") != "identity" && (user != "ann" && r.Form.Get("username") != "ann" || secret != "secret" && r.Form.Get("password") != "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"token": "pass", "access_token": "pass"})
		return
	}
	user, secret, _ := r.BasicAuth()
	switch {
	case g.tokens && auth == "Bearer pass", !g.tokens && user == "ann" && secret == "secret":
		r.Header.Del("Authorization")
		g.registry.ServeHTTP(w, r)
	case g.tokens:
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+g.server.URL+`/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func newGate(t testing.TB, tokens bool) (*gate, string) {
	addr := startRegistry(t, false)
	l := newLayout(t)
	push(t, l.name("x", l.image("", testLayer{baseLayer(t), gzipped})), addr+"/gated:1")
	g := &gate{registry: newFaulty(t, addr), tokens: tokens}
	g.server = httptest.NewServer(g)
	t.Cleanup(g.server.Close)
	return g, strings.TrimPrefix(g.server.URL, "http://")
}

func TestPullToken(t *testing.T) {
	t.Parallel()
	_, addr := newGate(t, true)
	s := newStore(t)
	ctx := context.Background()
	for name, auth := range map[string]*registry.AuthConfig{
		"password": {Username: "ann", Password: "secret"},
		"identity": {IdentityToken: "identity"},
		"registry": {RegistryToken: "pass"},
	} {
		if _, err := s.Pull(ctx, addr+"/gated:1", "", auth, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, auth := range map[string]*registry.AuthConfig{
		"none":     nil,
		"password": {Username: "ann", Password: "guess"},
		"identity": {IdentityToken: "guess"},
		"registry": {RegistryToken: "guess"},
	} {
		_, err := s.Pull(ctx, addr+"/gated:1", "", auth, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantErr(t, err, errdefs.ErrPermissionDenied, "abode login "+addr)
	}
}

// TestMirrorGetsNoSecret checks that a mirror which asks for a login is not
// given that of the registry.
func TestMirrorGetsNoSecret(t *testing.T) {
	t.Parallel()
	g, addr := newGate(t, false)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "hosts.d/127.0.0.1_1_/hosts.toml"), []byte("[host.\"http://"+addr+"\"]\n"))
	s := openStore(t, dir)
	for _, auth := range []*registry.AuthConfig{{Username: "ann", Password: "secret"}, {RegistryToken: "secret"}, {IdentityToken: "secret"}} {
		if _, err := s.Pull(context.Background(), "127.0.0.1:1/gated:1", "", auth, nil); err == nil {
			t.Error("the mirror let us in")
		}
	}
	if len(g.seen) == 0 || slices.ContainsFunc(g.seen, func(h string) bool { return h != "" }) {
		t.Errorf("the mirror has seen %q", g.seen)
	}
}

// TestPullOwnCA pulls over TLS, from a host that only hosts.toml leads to, with
// a CA of our own.
func TestPullOwnCA(t *testing.T) {
	t.Parallel()
	addr := startRegistry(t, false)
	l := newLayout(t)
	push(t, l.name("x", l.image("", testLayer{baseLayer(t), gzipped})), addr+"/own:1")
	srv := httptest.NewTLSServer(newFaulty(t, addr))
	defer srv.Close()
	dir := t.TempDir()
	s := openStore(t, dir)
	hosts := filepath.Join(dir, "hosts.d/registry.example/hosts.toml")
	writeFile(t, hosts, []byte("server = \""+srv.URL+"\"\n"))
	_, err := s.Pull(context.Background(), "registry.example/own:1", "", nil, nil)
	wantErr(t, err, errdefs.ErrUnavailable, "certificate", "hosts.toml")
	ca := filepath.Join(dir, "ca.pem")
	writeFile(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	writeFile(t, hosts, []byte("server = \""+srv.URL+"\"\nca = \""+ca+"\"\n"))
	if _, err := s.Pull(context.Background(), "registry.example/own:1", "", nil, nil); err != nil {
		t.Error(err)
	}
	// On the loopback, TLS is spoken too, and nobody asks for the certificate.
	if _, err := s.Pull(context.Background(), strings.TrimPrefix(srv.URL, "https://")+"/own:1", "", nil, nil); err != nil {
		t.Error(err)
	}
}
