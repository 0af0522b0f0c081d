package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Target is where a container answers HTTP.
type Target struct {
	Port uint16
	Path string // with its slash
}

// ParseTarget reads PORT or PORT/PATH.
func ParseTarget(s string) (*Target, error) {
	number, path, _ := strings.Cut(s, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("invalid --http %q: give the container's port and perhaps a path, such as 80 or 8080/health", s)
	}
	if _, err := url.Parse("http://x/" + path); err != nil {
		return nil, fmt.Errorf("invalid path in --http %q: %w", s, err)
	}
	return &Target{uint16(port), "/" + path}, nil
}

func (t *Target) String() string {
	return strings.TrimSuffix(strconv.Itoa(int(t.Port))+t.Path, "/")
}

func (t *Target) port() network.Port {
	return network.MustParsePort(strconv.Itoa(int(t.Port)) + "/tcp")
}

const (
	askEvery = 5 * time.Millisecond
	askTime  = 2 * time.Second // that one request may take
)

// answer asks until the container answers, has ended, or the limit is over.
func (e *Entrant) answer(ctx context.Context, p *Plan, id string, begun time.Time, w *watch) error {
	r, err := e.Client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	var address string
	if s := r.Container.NetworkSettings; s != nil {
		if b := s.Ports[p.HTTP.port()]; len(b) > 0 {
			address = "http://" + net.JoinHostPort("127.0.0.1", b[0].HostPort) + p.HTTP.Path
		}
	}
	if address == "" {
		w.r.why["http"] = "the engine did not publish the port"
		return w.wait(ctx, 0)
	}
	asker := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       askTime,
	}
	for time.Since(w.started) < p.Limit {
		status, err := ask(ctx, asker, address)
		if err == nil {
			w.r.HTTP, w.r.Status = seconds(time.Since(begun)), status
			return nil
		}
		if err := w.wait(ctx, askEvery); err != nil {
			return err
		}
		if w.over {
			w.r.why["http"] = fmt.Sprintf("it ended, with code %d, before it answered", *w.r.ExitCode)
			return nil
		}
	}
	w.r.why["http"] = fmt.Sprintf("no answer on port %d within %s; does it listen on all addresses of that port? --limit waits longer", p.HTTP.Port, p.Limit)
	return nil
}

func ask(ctx context.Context, c *http.Client, address string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == 0 {
		return 0, errors.New("no status")
	}
	return resp.StatusCode, nil
}
