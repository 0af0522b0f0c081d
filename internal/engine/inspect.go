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

	"github.com/abode-run/abode/internal/network"
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
		HostConfig:      rec.Host,
		GraphDriver:     &storage.DriverData{Name: Driver, Data: map[string]string{"Dir": string(c.dir)}},
		Mounts:          e.inspectMounts(rec),
		Config:          rec.Config,
		NetworkSettings: &container.NetworkSettings{Networks: rec.endpoints(&st), Ports: rec.portMap(st.Attachment)},
	}
	if st.Attachment != nil {
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

// endpoints describes the container's place in its network.
func (rec *record) endpoints(st *status) map[string]*apinetwork.EndpointSettings {
	place := rec.place()
	if rec.Host.NetworkMode.IsContainer() {
		return map[string]*apinetwork.EndpointSettings{} // the other has them
	}
	ep := &apinetwork.EndpointSettings{Aliases: place.Aliases}
	if place.fixed() {
		ep.IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: place.Address, IPv6Address: place.Address6}
	}
	if st.Phase.active() || place.defined() {
		ep.NetworkID = place.id()
	}
	if st.Phase.active() {
		sum := sha256.Sum256([]byte("abode endpoint " + rec.ID))
		ep.EndpointID = hex.EncodeToString(sum[:])
	}
	if a := st.Attachment; a != nil && st.Phase.active() {
		ep.DNSNames = append(rec.dnsNames(), shortID(rec.ID))
		if mac, err := net.ParseMAC(a.MAC); err == nil {
			ep.MacAddress = apinetwork.HardwareAddr(mac)
		}
		for _, s := range a.Addresses {
			p, err := netip.ParsePrefix(s)
			switch {
			case err != nil:
			case p.Addr().Is4():
				ep.IPAddress, ep.IPPrefixLen = p.Addr(), p.Bits()
			default:
				ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen = p.Addr(), p.Bits()
			}
		}
		for _, s := range a.Gateways {
			if g, err := netip.ParseAddr(s); err == nil && g.Is4() {
				ep.Gateway = g
			} else if err == nil {
				ep.IPv6Gateway = g
			}
		}
	}
	return map[string]*apinetwork.EndpointSettings{place.Name: ep}
}

// portMap tells for each exposed or published port where it is on the host.
func (rec *record) portMap(att *network.Attachment) apinetwork.PortMap {
	ports := apinetwork.PortMap{}
	if att == nil {
		return ports
	}
	for p := range rec.Config.ExposedPorts {
		ports[p] = nil
	}
	for _, b := range att.Ports {
		p, ok := apinetwork.PortFrom(b.ContainerPort, apinetwork.IPProtocol(b.Proto))
		if !ok {
			continue
		}
		ports[p] = append(ports[p], apinetwork.PortBinding{HostIP: b.HostIP, HostPort: strconv.Itoa(int(b.HostPort))})
	}
	return ports
}
