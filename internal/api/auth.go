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
	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
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
	token, err := login(ctx, cfg)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, registry.AuthResponse{Status: "Login Succeeded", IdentityToken: token})
}

// login asks the registry's base (/v2/) with the credentials. It returns the
// refresh token that the registry gives instead of the password, if it does.
func login(ctx context.Context, cfg registry.AuthConfig) (token string, err error) {
	host, err := registryHost(cfg.ServerAddress)
	if err != nil {
		return "", err
	}
	hosts, err := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))(host)
	if err != nil || len(hosts) == 0 {
		return "", invalid(fmt.Sprintf("cannot log in to %q: %v", host, err))
	}
	base := url.URL{Scheme: hosts[0].Scheme, Host: hosts[0].Host, Path: "/v2/"}
	secret, user := cfg.Password, cfg.Username
	if cfg.IdentityToken != "" {
		user, secret = "", cfg.IdentityToken
	}
	if secret == "" {
		return "", invalid("cannot log in: the password is missing")
	}
	client := &http.Client{Timeout: loginTime}
	authorizer := docker.NewDockerAuthorizer(
		docker.WithAuthClient(client),
		docker.WithAuthCreds(func(string) (string, string, error) { return user, secret, nil }),
		docker.WithFetchRefreshToken(func(_ context.Context, t string, _ *http.Request) { token = t }),
	)
	var seen []*http.Response
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
		if err != nil {
			return "", invalid(fmt.Sprintf("cannot log in to %q: %v", host, err))
		}
		if err := authorizer.Authorize(ctx, req); err != nil {
			return "", loginError(host, err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", &apiError{errdefs.ErrUnavailable, fmt.Sprintf("cannot reach registry %s: %v", host, err)}
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusOK:
			return token, nil
		case resp.StatusCode == http.StatusUnauthorized && try == 0:
			seen = append(seen, resp)
			if err := authorizer.AddResponses(ctx, seen); err != nil {
				return "", loginError(host, err)
			}
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			return "", loginError(host, errors.New(resp.Status))
		default:
			return "", &apiError{errdefs.ErrUnavailable, fmt.Sprintf("cannot log in to registry %s: it answered %s to GET %s", host, resp.Status, base.String())}
		}
	}
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
