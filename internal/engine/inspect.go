package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"
)

// Driver is the name of the way in which file systems are kept.
const Driver = "erofs-overlay"

// Inspect describes a container as Docker does; size adds what it takes on
// disk, which takes time.
func (e *Engine) Inspect(ctx context.Context, name string, size bool) (container.InspectResponse, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return container.InspectResponse{}, err
	}
	rec, st := c.snapshot()
	cmd := rec.command()
	res := container.InspectResponse{
		ID:              rec.ID,
		Created:         rec.Created.Format(time.RFC3339Nano),
		Path:            cmd[0],
		Args:            cmd[1:],
		State:           st.inspect(),
		Image:           rec.Image.String(),
		LogPath:         c.dir.Log(),
		RestartCount:    st.Restarts,
		Name:            "/" + rec.Name,
		Driver:          Driver,
		Platform:        "linux",
		ExecIDs:         c.execIDs(),
		HostConfig:      rec.inspectHost(),
		GraphDriver:     &storage.DriverData{Name: Driver, Data: map[string]string{"Dir": string(c.dir)}},
		Mounts:          e.inspectMounts(rec),
		Config:          rec.Config,
		NetworkSettings: &container.NetworkSettings{Networks: rec.endpoints(&st), Ports: rec.portMap(&st.Networks)},
	}
	if len(st.Networks.Places) > 0 {
		res.NetworkSettings.SandboxID = rec.ID
	}
	if rec.Host.LogConfig.Type == logNone {
		res.LogPath = ""
	}
	if size {
		rw, root := c.sizes(ctx)
		res.SizeRw, res.SizeRootFs = &rw, &root
	}
	return res, nil
}

func (s *status) inspect() *container.State {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	return &container.State{
		Status:     s.apiState(),
		Running:    s.up(),
		Restarting: s.Restarting,
		Paused:     s.Phase == phasePaused,
		OOMKilled:  s.OOMKilled,
		Dead:       s.Phase == phaseDead,
		Pid:        s.PID,
		ExitCode:   s.ExitCode,
		Error:      s.Error,
		StartedAt:  stamp(s.StartedAt),
		FinishedAt: stamp(s.FinishedAt),
		Health:     s.Health,
	}
}

// execIDs lists what runs beside the container's own process; nil when nothing does.
func (c *Container) execIDs() []string {
	var ids []string
	for _, x := range c.e.execs.of(c) {
		x.mu.Lock()
		if x.running {
			ids = append(ids, x.id)
		}
		x.mu.Unlock()
	}
	slices.Sort(ids)
	return ids
}

func (e *Engine) inspectMounts(rec *record) []container.MountPoint {
	list := []container.MountPoint{}
	for _, m := range rec.Mounts {
		p := container.MountPoint{
			Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Target, Mode: m.Mode, RW: !m.ReadOnly, Propagation: m.Propagation,
		}
		switch m.Type {
		case mount.TypeVolume:
			p.Driver = "local"
			if v, err := e.volumes.Get(m.Name); err == nil {
				p.Source = v.Mountpoint
			}
		case mount.TypeTmpfs:
			if _, ok := rec.Host.Tmpfs[m.Target]; ok {
				continue // as Docker: only HostConfig tells of --tmpfs
			}
		}
		list = append(list, p)
	}
	return list
}

// NetworkID is the ID of one of the networks that are always there: bridge,
// host and none. It is the same in every engine.
func NetworkID(name string) string {
	sum := sha256.Sum256([]byte("abode network " + name))
	return hex.EncodeToString(sum[:])
}

// shownEndpoints are the container's places for clients: Docker calls the host's
// network one, and having none.
func (rec *record) shownEndpoints() []endpoint {
	if mode := networkName(rec.Config, rec.Host); !attachable(mode) && (mode == "host" || mode == "none") {
		return []endpoint{{Network: mode, Name: mode}}
	}
	return rec.Endpoints
}

// endpoints describes the container's places in networks.
func (rec *record) endpoints(st *status) map[string]*apinetwork.EndpointSettings {
	all := map[string]*apinetwork.EndpointSettings{}
	for _, p := range rec.shownEndpoints() {
		ep := &apinetwork.EndpointSettings{Aliases: p.Aliases, GwPriority: p.Priority}
		for alias, name := range p.Links {
			ep.Links = append(ep.Links, name+":"+alias)
		}
		slices.Sort(ep.Links)
		if p.fixed() {
			ep.IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: p.Address, IPv6Address: p.Address6}
		}
		had := st.Networks.in(p.Network)
		running := st.Phase.active() && (had != nil || !attachable(p.Network))
		if running || attachable(p.Network) && p.defined() {
			ep.NetworkID = p.id()
		}
		if running {
			sum := sha256.Sum256([]byte("abode endpoint " + rec.ID + " " + p.Network))
			ep.EndpointID = hex.EncodeToString(sum[:])
		}
		if running && had != nil {
			ep.DNSNames = rec.dnsNames(&p)
			if id := shortID(rec.ID); !slices.Contains(ep.DNSNames, id) { // docker-compose 1 makes it an alias
				ep.DNSNames = append(ep.DNSNames, id)
			}
			had.describe(ep)
		}
		all[p.Name] = ep
	}
	return all
}

// describe tells what a running container has of a network.
func (p *place) describe(ep *apinetwork.EndpointSettings) {
	if mac, err := net.ParseMAC(p.MAC); err == nil {
		ep.MacAddress = apinetwork.HardwareAddr(mac)
	}
	for _, s := range p.Addresses {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
		case p.Addr().Is4():
			ep.IPAddress, ep.IPPrefixLen = p.Addr(), p.Bits()
		default:
			ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen = p.Addr(), p.Bits()
		}
	}
	for _, s := range p.Gateways {
		if g, err := netip.ParseAddr(s); err == nil && g.Is4() {
			ep.Gateway = g
		} else if err == nil {
			ep.IPv6Gateway = g
		}
	}
}

// inspectHost is HostConfig as Docker shows it.
func (rec *record) inspectHost() *container.HostConfig {
	if len(rec.Host.Links) == 0 {
		return rec.Host
	}
	h := *rec.Host
	h.Links = rec.inspectLinks()
	return &h
}

// portMap tells for each exposed or published port where it is on the host.
func (rec *record) portMap(j *attachments) apinetwork.PortMap {
	ports := apinetwork.PortMap{}
	if len(j.Places) == 0 {
		return ports
	}
	for p := range rec.Config.ExposedPorts {
		ports[p] = nil
	}
	for _, b := range j.ports() {
		p, ok := apinetwork.PortFrom(b.ContainerPort, apinetwork.IPProtocol(b.Proto))
		if !ok {
			continue
		}
		ports[p] = append(ports[p], apinetwork.PortBinding{HostIP: b.HostIP, HostPort: strconv.Itoa(int(b.HostPort))})
	}
	return ports
}
