package image

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
)

// dockerHub is the host that serves docker.io.
const dockerHub = "registry-1.docker.io"

// A remote is a repository in a registry, or in its mirrors.
type remote struct {
	resolver remotes.Resolver
	tracker  docker.StatusTracker // of pushes
	ref      string               // normalised
	host     string               // as the user names it
	clients  []*http.Client
	mu       sync.Mutex
}

// remote prepares to fetch ref, or to push it: then only hosts that take pushes
// are spoken to, for what is on another one is not where it goes. Hosts on the loopback are spoken to in plain
// HTTP, if they do not speak TLS, whose certificate is not asked for there; all
// others in HTTPS. Credentials go to the registry itself, never to a mirror.
func (s *Store) remote(ctx context.Context, ref reference.Named, auth *registry.AuthConfig, push bool) (*remote, error) {
	domain := reference.Domain(ref)
	r := &remote{ref: ref.String(), host: domain}
	user, secret, err := credentials(auth)
	if err != nil {
		return nil, err
	}
	own := domain
	if domain == "docker.io" {
		own = dockerHub
	}
	hosts := config.ConfigureHosts(ctx, config.HostOptions{
		HostDir: config.HostDirFromRoot(s.hostsDir),
		Credentials: func(host string) (string, string, error) {
			if host != own {
				return "", "", nil
			}
			return user, secret, nil
		},
		UpdateClient: func(c *http.Client) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			c.Transport = &guard{next: c.Transport, stall: s.stall}
			r.clients = append(r.clients, c)
			return nil
		},
	})
	r.tracker = docker.NewInMemoryTracker()
	r.resolver = docker.NewResolver(docker.ResolverOptions{
		Tracker: r.tracker,
		Headers: http.Header{"User-Agent": {"abode"}},
		Hosts: func(host string) ([]docker.RegistryHost, error) {
			list, err := hosts(host)
			if push {
				list = slices.DeleteFunc(list, func(h docker.RegistryHost) bool { return !h.Capabilities.Has(docker.HostCapabilityPush) })
			}
			if err != nil || auth == nil || auth.RegistryToken == "" {
				return list, err
			}
			for i := range list {
				if list[i].Host == own {
					list[i].Header = list[i].Header.Clone()
					if list[i].Header == nil {
						list[i].Header = http.Header{}
					}
					list[i].Header.Set("Authorization", "Bearer "+auth.RegistryToken)
				}
			}
			return list, nil
		},
	})
	return r, nil
}

// close gives up idle connections.
func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		c.CloseIdleConnections()
	}
}

// credentials returns a user and a secret; a secret without a user is an
// identity token.
func credentials(auth *registry.AuthConfig) (user, secret string, err error) {
	switch {
	case auth == nil:
		return "", "", nil
	case auth.IdentityToken != "":
		return "", auth.IdentityToken, nil
	case auth.Username == "" && auth.Auth != "":
		raw, err := base64.StdEncoding.DecodeString(auth.Auth)
		user, secret, ok := strings.Cut(string(raw), ":")
		if err != nil || !ok {
			return "", "", fmt.Errorf("the registry credentials are not user:password in base64: %w", errdefs.ErrInvalidArgument)
		}
		return user, strings.TrimRight(secret, "\x00"), nil
	default:
		return auth.Username, auth.Password, nil
	}
}

// loginHost is what `abode login` is to be given for the registry.
func loginHost(host string) string {
	if host == "docker.io" {
		return ""
	}
	return " " + host
}
