package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/registry"
	"github.com/sirupsen/logrus"
)

// loginTime bounds the check of credentials.
const loginTime = 30 * time.Second

// auth checks credentials against their registry, for `login`. Nothing is
// kept: clients send credentials with each request that needs them.
func (s *server) auth(w http.ResponseWriter, r *http.Request) error {
	var cfg registry.AuthConfig
	if err := readJSON(w, r, &cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), loginTime)
	defer cancel()
	token, err := login(ctx, s.hostsDir, cfg)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, registry.AuthResponse{Status: "Login Succeeded", IdentityToken: token})
}

// login asks the registry's base (/v2/) with the credentials. It returns the
// refresh token that the registry gives instead of the password, if it does.
// The registry is found as for a pull, mirrors left out.
func login(ctx context.Context, hostsDir string, cfg registry.AuthConfig) (token string, err error) {
	name, err := registryHost(cfg.ServerAddress)
	if err != nil {
		return "", err
	}
	user, secret := cfg.Username, cfg.Password
	if cfg.IdentityToken != "" {
		user, secret = "", cfg.IdentityToken
	}
	if secret == "" {
		return "", invalid("cannot log in: the password is missing")
	}
	host, err := findRegistry(ctx, hostsDir, name, config.HostOptions{
		Credentials: func(string) (string, string, error) { return user, secret, nil },
		AuthorizerOpts: []docker.AuthorizerOpt{
			docker.WithFetchRefreshToken(func(_ context.Context, t string, _ *http.Request) { token = t }),
		},
	})
	if err != nil {
		return "", err
	}
	defer host.Client.CloseIdleConnections()
	base := url.URL{Scheme: host.Scheme, Host: host.Host, Path: strings.TrimSuffix(host.Path, "/") + "/"}
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
		if err != nil {
			return "", invalid(fmt.Sprintf("cannot log in to %q: %v", name, err))
		}
		if err := host.Authorizer.Authorize(ctx, req); err != nil {
			return "", loginError(name, err)
		}
		resp, err := host.Client.Do(req)
		if err != nil {
			return "", &apiError{errdefs.ErrUnavailable, fmt.Sprintf("cannot reach registry %s: %v", name, err)}
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusOK:
			return token, nil
		case resp.StatusCode == http.StatusUnauthorized && try == 0:
			if err := host.Authorizer.AddResponses(ctx, []*http.Response{resp}); err != nil {
				return "", loginError(name, err)
			}
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			return "", loginError(name, errors.New(resp.Status))
		default:
			return "", &apiError{errdefs.ErrUnavailable, fmt.Sprintf("cannot log in to registry %s: it answered %s to GET %s", name, resp.Status, base.String())}
		}
	}
}

// findRegistry returns how a registry itself is reached.
func findRegistry(ctx context.Context, hostsDir, name string, opts config.HostOptions) (docker.RegistryHost, error) {
	opts.HostDir = config.HostDirFromRoot(hostsDir)
	quiet := logrus.New() // containerd's library tells in its log what the errors tell too
	quiet.SetOutput(io.Discard)
	hosts, err := config.ConfigureHosts(log.WithLogger(ctx, logrus.NewEntry(quiet)), opts)(name)
	if err != nil {
		return docker.RegistryHost{}, fmt.Errorf("cannot read how registry %s is reached from %s: %w", name, hostsDir, err)
	}
	own := name
	if name == "docker.io" {
		own = "registry-1.docker.io"
	}
	for _, h := range hosts {
		if h.Host == own {
			return h, nil
		}
	}
	return docker.RegistryHost{}, &apiError{errdefs.ErrUnavailable, fmt.Sprintf("registry %s is reached through mirrors alone, as %s says", name, hostsDir)}
}

// loginError tells apart a registry that refuses from one that cannot be asked.
func loginError(host string, err error) error {
	var netErr *url.Error
	if errors.As(err, &netErr) {
		return &apiError{errdefs.ErrUnavailable, fmt.Sprintf("cannot reach the authorization server of registry %s: %v", host, err)}
	}
	return &apiError{errdefs.ErrUnauthenticated, fmt.Sprintf("cannot log in to registry %s: incorrect username or password (%v)", host, err)}
}

// registryHost takes the host out of a server address: "example.com:5000",
// "https://example.com/v1/", or docker.io's "https://index.docker.io/v1/".
func registryHost(address string) (string, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io", nil
	}
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host != host || u.User != nil {
		return "", invalid(fmt.Sprintf("%q is not a registry's address", address))
	}
	return host, nil
}
