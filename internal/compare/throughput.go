package compare

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"

	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/compare/gauge"
)

// throughput measures the container's disk and network, in a container of its
// own in which the gauge runs. What cannot be measured is told in r; an error
// is of the comparison itself.
func (e *Entrant) throughput(ctx context.Context, p *Plan, r *Run) (err error) {
	g, err := e.gauge(ctx, p, "")
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	if err != nil {
		for _, key := range append(diskKeys, networkKeys...) {
			r.why[key] = plain(err)
		}
		return nil
	}
	defer func() { err = errors.Join(err, g.end(ctx)) }()
	e.disk(ctx, p, g, r)
	if ctx.Err() == nil {
		e.network(ctx, g, r)
	}
	return ctx.Err()
}

var (
	diskKeys    = []string{"diskWrite", "diskRead", "diskRandom", "diskSync"}
	networkKeys = []string{"netIn", "netOut", "roundTrip"}
)

func (e *Entrant) disk(ctx context.Context, p *Plan, g *gauged, r *Run) {
	for i, one := range []struct {
		question string
		to       **float64
	}{{gauge.Write, &r.DiskWrite}, {gauge.Read, &r.DiskRead}, {gauge.Random, &r.DiskRandom}, {gauge.Sync, &r.DiskSync}} {
		if one.question == gauge.Read || one.question == gauge.Random {
			r.Warm = e.cool(ctx, p, g.id)
		}
		reply, err := g.ask(ctx, one.question)
		if err == nil {
			*one.to, err = number(reply.Value)
		}
		if err != nil {
			for _, key := range diskKeys[i:] {
				r.why[key] = plain(err)
			}
			return
		}
	}
}

// cool makes the host forget a virtual machine's disk, whose own cache the
// gauge empties: as a container's reads do, its reads shall come from a disk.
// It returns why they may not.
func (e *Entrant) cool(ctx context.Context, p *Plan, id string) string {
	if e.Isolation != isolationVM {
		return ""
	}
	f, err := e.machine(ctx, p.Host, id)
	if err == nil && f.hypervisor == nil {
		err = errors.New(orElse(e.Elsewhere, "its hypervisor was not found among this machine's processes"))
	}
	if err == nil {
		err = p.Host.dropFiles(f.hypervisor.pid)
	}
	if err != nil {
		return plain(err)
	}
	return ""
}

func (e *Entrant) network(ctx context.Context, g *gauged, r *Run) {
	fail := func(keys []string, err error) {
		for _, key := range keys {
			r.why[key] = plain(err)
		}
	}
	address, err := e.address(ctx, g.id)
	if err != nil {
		fail(networkKeys, err)
		return
	}
	peer := gauge.Peer{Secret: rand.Text()}
	reply, err := g.ask(ctx, gauge.Listen, peer.Secret)
	if err == nil && (reply.Port < 1 || reply.Port > math.MaxUint16) {
		err = fmt.Errorf("the gauge listens on port %d", reply.Port)
	}
	if err != nil {
		fail(networkKeys, err)
		return
	}
	peer.Address = net.JoinHostPort(address, strconv.Itoa(reply.Port))
	for i, one := range []struct {
		measure func(context.Context) (float64, error)
		to      **float64
	}{{peer.In, &r.NetIn}, {peer.Out, &r.NetOut}, {peer.RoundTrip, &r.RoundTrip}} {
		v, err := one.measure(ctx)
		if err == nil {
			*one.to, err = number(v)
		}
		if err != nil {
			fail(networkKeys[i:], err)
			return
		}
	}
}

// address is the container's, on its first network.
func (e *Entrant) address(ctx context.Context, id string) (string, error) {
	if e.Elsewhere != "" {
		return "", errors.New(e.Elsewhere)
	}
	r, err := e.Client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return "", err
	}
	if s := r.Container.NetworkSettings; s != nil {
		for _, n := range s.Networks {
			if n.IPAddress.IsValid() {
				return n.IPAddress.String(), nil
			}
		}
	}
	return "", errors.New("the container has no address of its own that this machine could reach")
}

// number refuses what no measurement yields.
func number(v float64) (*float64, error) {
	if v > 0 && v < 1e15 {
		return &v, nil
	}
	return nil, fmt.Errorf("%g was measured, which is none", v)
}
