package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"
)

// basicRegistry lets user a with password b in.
func basicRegistry() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); r.URL.Path == "/v2/" && user == "a" && password == "b" {
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
}

// tokenRegistry wants a token, which its other half gives to user a with
// password b, with a refresh token.
func tokenRegistry() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		user, password := r.FormValue("username"), r.FormValue("password")
		if r.Method == http.MethodGet {
			user, password, _ = r.BasicAuth()
		}
		if user != "a" || password != "b" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"access_token": "t1", "token": "t1", "refresh_token": "r1"})
	})
	m.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t1" {
			return
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
	})
	return m
}

func TestLogin(t *testing.T) {
	s := &server{hostsDir: t.TempDir()}
	api, _ := testServer(t, route{"POST", "/auth", s.auth})
	basic := httptest.NewServer(basicRegistry())
	defer basic.Close()
	secure := httptest.NewTLSServer(basicRegistry())
	defer secure.Close()
	token := httptest.NewServer(tokenRegistry())
	defer token.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	// A port that refuses.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()

	for _, c := range []struct {
		name     string
		cfg      registry.AuthConfig
		status   int
		response string
	}{
		{"basic", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: basic.Listener.Addr().String()}, 200, "Login Succeeded"},
		{"basic, as a URL", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: basic.URL + "/v2/"}, 200, "Login Succeeded"},
		{"basic, wrong", registry.AuthConfig{Username: "a", Password: "c", ServerAddress: basic.Listener.Addr().String()}, 401, "incorrect username or password"},
		{"TLS", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: secure.Listener.Addr().String()}, 200, "Login Succeeded"},
		{"token", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: token.Listener.Addr().String()}, 200, `"IdentityToken":"r1"`},
		{"token, wrong", registry.AuthConfig{Username: "a", Password: "c", ServerAddress: token.Listener.Addr().String()}, 401, "incorrect username or password"},
		{"no password", registry.AuthConfig{Username: "a", ServerAddress: basic.Listener.Addr().String()}, 400, "password"},
		{"nobody", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: nobody}, 503, "cannot reach"},
		{"no registry", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: broken.Listener.Addr().String()}, 503, "404"},
		{"no address", registry.AuthConfig{Username: "a", Password: "b", ServerAddress: "a b"}, 400, "address"},
	} {
		body, err := json.Marshal(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(api.URL+"/auth", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(got), c.response) {
			t.Errorf("%s: got %d %s (%v), want %d with %s", c.name, resp.StatusCode, got, err, c.status, c.response)
		}
		if strings.Contains(string(got), `"c"`) || strings.Contains(string(got), "a:c") {
			t.Errorf("%s: the response tells the password: %s", c.name, got)
		}
	}
}

func TestRegistryHost(t *testing.T) {
	for address, want := range map[string]string{
		"":                            "docker.io",
		"https://index.docker.io/v1/": "docker.io",
		"docker.io":                   "docker.io",
		"example.com:5000":            "example.com:5000",
		"https://example.com/v2/":     "example.com",
		"http://[::1]:5000":           "[::1]:5000",
	} {
		if got, err := registryHost(address); err != nil || got != want {
			t.Errorf("%q: got %q (%v), want %q", address, got, err, want)
		}
	}
	for _, address := range []string{"a b", "user@host", "https://u:p@host/", "a?b", "a#b", "%zz"} {
		if got, err := registryHost(address); err == nil {
			t.Errorf("%q: got %q, want an error", address, got)
		}
	}
}

func TestDecodeAuth(t *testing.T) {
	for _, h := range []string{
		"eyJ1c2VybmFtZSI6ImE_YSIsInBhc3N3b3JkIjoiYj4_In0=", // base64url
		"eyJ1c2VybmFtZSI6ImE_YSIsInBhc3N3b3JkIjoiYj4_In0",  // without padding
		"eyJ1c2VybmFtZSI6ImE/YSIsInBhc3N3b3JkIjoiYj4/In0=", // the standard alphabet
	} {
		auth, err := decodeAuth(h)
		if err != nil || auth.Username != "a?a" || auth.Password != "b>?" {
			t.Errorf("%s: got %+v (%v)", h, auth, err)
		}
	}
}
