package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/compare"
	"github.com/abode-run/abode/internal/version"
)

// notHere is why nothing of an engine's processes is read.
const notHere = "the engine is reached over TCP, so it may run on another machine than this"

// walls are the engine's isolations, and those that this machine hasn't.
func (a *app) walls(ctx context.Context, c *client.Client) (entrants []compare.Entrant, absent []compare.Missing, err error) {
	var info struct {
		Version    string
		Isolations []struct {
			Name                 string
			Available            bool
			Description, Missing string
		}
	}
	if err := a.fetch(ctx, "/abode/info", &info); err != nil {
		return nil, nil, err
	}
	elsewhere := ""
	if a.host().Socket() == "" {
		elsewhere = notHere
	}
	for _, i := range info.Isolations {
		if !i.Available {
			absent = append(absent, compare.Missing{What: i.Name, Reason: i.Missing})
			continue
		}
		about := "Abode " + info.Version
		if i.Description != "" {
			about += ", " + i.Description
		}
		entrants = append(entrants, compare.Entrant{
			Name: i.Name, Engine: about, Client: c, Isolation: container.Isolation(i.Name), Elsewhere: elsewhere,
		})
	}
	return entrants, absent, nil
}

// peer is an engine of others that speaks Docker's API.
type peer struct{ name, variable, socket, start string }

var peerEngines = []peer{
	{"docker", "DOCKER_HOST", "/var/run/docker.sock", "systemctl start docker"},
	{"podman", "CONTAINER_HOST", "/run/podman/podman.sock", "systemctl start podman.socket"},
}

// peers are the engines of --with, and why some cannot take part.
func peers(ctx context.Context, names []string) (entrants []compare.Entrant, absent []compare.Missing, err error) {
	for i, name := range names {
		at := slices.IndexFunc(peerEngines, func(p peer) bool { return p.name == name })
		if at < 0 {
			return nil, nil, exit(125, fmt.Errorf("invalid --with %q: use docker or podman", name))
		}
		if slices.Contains(names[:i], name) {
			continue
		}
		e, err := peerEngines[at].entrant(ctx)
		if err != nil {
			absent = append(absent, compare.Missing{What: name, Reason: err.Error()})
			continue
		}
		entrants = append(entrants, e)
	}
	return entrants, absent, nil
}

func (p peer) entrant(ctx context.Context) (e compare.Entrant, err error) {
	address := os.Getenv(p.variable)
	if address == "" {
		address = "unix://" + p.socket
	}
	socket, isSocket := strings.CutPrefix(address, "unix://")
	if isSocket {
		if _, err := os.Stat(socket); err != nil {
			return e, p.missing(socket)
		}
	}
	c, err := client.New(client.WithHost(address), client.WithUserAgent("abode/"+version.Version), client.WithTraceProvider(noTraces))
	if err != nil {
		return e, fmt.Errorf("cannot use its address %q: %w; %s takes unix:///PATH or tcp://HOST:PORT", address, err, p.variable)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return e, fmt.Errorf("it does not answer at %s: %w", address, err)
	}
	if v.Platform.Name == "Abode" {
		return e, fmt.Errorf("at %s is Abode, not %s; set %s to its address", address, p.name, p.variable)
	}
	e = compare.Entrant{Name: p.name, Engine: "version " + v.Version, Client: c}
	if !isSocket {
		e.Elsewhere = notHere
	}
	return e, nil
}

// missing tells why there is no socket.
func (p peer) missing(socket string) error {
	for _, program := range []string{p.name, p.name + "d"} {
		if _, err := exec.LookPath(program); err == nil {
			return fmt.Errorf("not running: there is no socket %s; start it with '%s', or set %s", socket, p.start, p.variable)
		}
	}
	return fmt.Errorf("not installed: there is no %s, and no socket %s", p.name, socket)
}
