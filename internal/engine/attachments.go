package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/network"
)

// attachments is what a container has of networks while it runs.
type attachments struct {
	Tap    string  `json:",omitempty"` // of a guest
	Places []place `json:",omitempty"` // in the order in which it came by them
	Out    string  `json:",omitempty"` // the network of the way out
}

// place is a container's in a network.
type place struct {
	Network string // its ID, or defaultNetwork
	Link    string // the interface in the container
	network.Attachment
}

// in is the place in a network, or nil.
func (j *attachments) in(network string) *place {
	for i := range j.Places {
		if j.Places[i].Network == network {
			return &j.Places[i]
		}
	}
	return nil
}

// out is the place that the way out leads through; without one that may be, the
// first; nil: there is none.
func (j *attachments) out() *place {
	if p := j.in(j.Out); p != nil || len(j.Places) == 0 {
		return p
	}
	return &j.Places[0]
}

// ports are those that are published.
func (j *attachments) ports() []network.PortBinding {
	if p := j.in(j.Out); p != nil {
		return p.Ports
	}
	return nil
}

// plugged says whether a guest's device is in a network by itself.
func (j *attachments) plugged() bool {
	return slices.ContainsFunc(j.Places, func(p place) bool { return p.NIC == j.Tap })
}

// link is the name of the next interface.
func (j *attachments) link() string {
	for i := 0; ; i++ {
		name := "eth" + strconv.Itoa(i)
		if !slices.ContainsFunc(j.Places, func(p place) bool { return p.Link == name }) {
			return name
		}
	}
}

// nics are the interfaces on the host that a kernel is placed with.
func (j *attachments) nics() []string {
	if j.Tap != "" {
		return []string{j.Tap}
	}
	var list []string
	for _, p := range j.Places {
		list = append(list, p.NIC)
	}
	return list
}

// agentLink describes a place's interface to the agent. device is what the
// kernel calls the interface, or that above which it lies.
func (j *attachments) agentLink(p *place, device string) agent.Link {
	l := agent.Link{Name: device, Above: p.NIC == "", NewName: p.Link, MAC: p.MAC, MTU: p.MTU, Addresses: p.Addresses}
	if p.Network == j.Out {
		l.Gateways = p.Gateways
	}
	return l
}

// agentLinks are those that a container begins with.
func (j *attachments) agentLinks(k kernel.Kernel) []agent.Link {
	var list []agent.Link
	for i := range j.Places {
		nic := i
		if j.Tap != "" {
			nic = 0 // the only one
		}
		list = append(list, j.agentLink(&j.Places[i], k.Link(nic)))
	}
	return list
}

// joinNetworks gives the container its places in networks, and says which range
// of user IDs its kernel has then.
func (c *Container) joinNetworks(ctx context.Context, rec *record, cu *cleanup.Stack) (j attachments, owner int, err error) {
	if !rec.networked() || len(rec.Endpoints) == 0 && !rec.tap() {
		return j, rec.Owner, nil
	}
	if err := c.linked(rec); err != nil {
		return j, 0, err
	}
	c.onFailure(ctx, cu, "network", func(ctx context.Context) error { return c.e.leaveAll(ctx, rec) })
	s, ok, err := c.takeSpare(ctx, rec)
	if err != nil {
		return j, 0, err
	}
	owner = rec.Owner
	if ok {
		c.onFailure(ctx, cu, "what was made ahead", func(ctx context.Context) error { return c.e.forget(ctx, s) })
		if s.owner != 0 {
			owner = s.owner
		}
	}
	if rec.tap() {
		j.Tap = s.nic
		if !ok {
			if j.Tap, err = c.e.taps.Make(rec.ID, owner); err != nil {
				return j, 0, err
			}
			c.onFailure(ctx, cu, "tap", func(context.Context) error { return c.e.taps.Remove(j.Tap) })
		}
	}
	j.Out = c.e.gateway(rec.Endpoints)
	for i := range rec.Endpoints {
		p := &rec.Endpoints[i]
		ports, err := rec.portsIn(p, j.Out)
		if err != nil {
			return j, 0, err
		}
		spare := ""
		if ok && i == 0 && !rec.tap() {
			spare = s.id
		}
		if err := c.join(ctx, rec, p, &j, ports, i == 0, spare); err != nil {
			return j, 0, err
		}
	}
	if ok && !rec.tap() && j.Places[0].NIC != s.nic { // its link has gone, and it got another
		if err := c.e.forgetKernel(ctx, s); err != nil {
			return j, 0, err
		}
	}
	return j, owner, nil
}

// takeSpare is spare, but for one whose interface has gone. A guest that waits
// has laid its disks for a container that begins with its device.
func (c *Container) takeSpare(ctx context.Context, rec *record) (spare, bool, error) {
	if len(rec.Endpoints) == 0 {
		return spare{}, false, nil
	}
	net, err := c.e.use(rec, &rec.Endpoints[0])
	if err != nil {
		return spare{}, false, err
	}
	s, ok, err := c.e.spare(ctx, rec, net)
	if ok && rec.tap() && !c.e.taps.Stands(s.nic) {
		return spare{}, false, c.e.forget(ctx, s)
	}
	return s, ok, err
}

// join gives the container one place, which it adds to j. Only the first that
// it starts with is a guest's device itself: what lies above that would go with
// it.
func (c *Container) join(ctx context.Context, rec *record, p *endpoint, j *attachments, ports []network.PortBinding, first bool, spare string) error {
	net, err := c.e.use(rec, p)
	if err != nil {
		return err
	}
	req := rec.networkRequest(p)
	req.Ports, req.Spare = ports, spare
	switch {
	case j.Tap != "" && first:
		req.Port = j.Tap
	case j.Tap != "":
		req.Trunk = j.Tap
	}
	att, err := net.Attach(ctx, req)
	if err != nil {
		return err
	}
	if err := p.asAsked(att.Addresses); err != nil {
		return errors.Join(err, net.Detach(context.WithoutCancel(ctx), rec.ID))
	}
	j.Places = append(j.Places, place{Network: p.Network, Link: j.link(), Attachment: att})
	return nil
}

// use returns a container's network, which is not removed before leave.
func (e *Engine) use(rec *record, p *endpoint) (*network.Network, error) {
	if !p.defined() {
		return e.network, nil
	}
	n, err := e.networks.Use(p.Network, rec.ID, rec.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot set up the container's network %s: %w", p.Name, err)
	}
	return n, nil
}

// net is a container's network; nil when there is none.
func (e *Engine) net(id string) *network.Network {
	if id == defaultNetwork {
		return e.network
	}
	return e.networks.Get(id)
}

// leave takes a container's place in a network away, if it has one.
func (e *Engine) leave(ctx context.Context, id, network string) error {
	if network != defaultNetwork {
		defer e.networks.Leave(network, id)
	}
	if n := e.net(network); n != nil {
		return n.Detach(ctx, id)
	}
	return nil
}

// leaveAll takes all of a container's places away.
func (e *Engine) leaveAll(ctx context.Context, rec *record) error {
	var errs []error
	for _, p := range rec.Endpoints {
		errs = append(errs, e.leave(ctx, rec.ID, p.Network))
	}
	return errors.Join(errs...)
}

// renamed tells a running container's networks of its name.
func (e *Engine) renamed(rec *record, j *attachments) {
	for i := range rec.Endpoints {
		p := &rec.Endpoints[i]
		if j.in(p.Network) == nil {
			continue
		}
		n, err := e.use(rec, p)
		if err != nil {
			e.log.Warn("renaming a container", "container", rec.ID, "error", err)
			continue
		}
		n.Rename(rec.ID, rec.dnsNames(p))
	}
}

// beyond finds what a container calls name in all of its networks.
func (e *Engine) beyond(id, name string) []netip.Addr {
	c, err := e.containers.find(id)
	if err != nil {
		return nil
	}
	rec, _ := c.snapshot()
	for _, p := range rec.Endpoints {
		if n := e.net(p.Network); n != nil {
			if found := n.Lookup(id, name); len(found) > 0 {
				return found
			}
		}
	}
	return nil
}
