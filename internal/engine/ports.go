package engine

import (
	"cmp"
	"slices"

	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/network"
)

// networkRequest says what place the container needs in the network.
func (rec *record) networkRequest() (network.Request, error) {
	ports, err := rec.ports()
	if err != nil {
		return network.Request{}, err
	}
	return network.Request{
		ID:       rec.ID,
		Tap:      rec.tap(),
		Owner:    rec.Owner,
		Hostname: rec.Config.Hostname,
		Names:    rec.dnsNames(),
		MAC:      rec.place().MAC,
		Address:  rec.place().Address,
		Address6: rec.place().Address6,
		Ports:    ports,
	}, nil
}

// dnsNames are the names by which others find the container.
func (rec *record) dnsNames() []string {
	names := []string{rec.Name}
	for _, a := range rec.place().Aliases {
		if !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	return names
}

// ports are those to publish: what -p names, and with -P what is exposed.
func (rec *record) ports() ([]network.PortBinding, error) {
	var list []network.PortBinding
	for port, bindings := range rec.Host.PortBindings {
		if len(bindings) == 0 {
			bindings = []apinetwork.PortBinding{{}}
		}
		for _, b := range bindings {
			first, last, err := hostPorts(b.HostPort)
			if err != nil {
				return nil, err
			}
			list = append(list, network.PortBinding{Proto: string(port.Proto()), HostIP: b.HostIP, HostPort: first, LastHostPort: last, ContainerPort: port.Num()})
		}
	}
	if rec.Host.PublishAllPorts {
		for port := range rec.Config.ExposedPorts {
			if _, ok := rec.Host.PortBindings[port]; ok || (port.Proto() != apinetwork.TCP && port.Proto() != apinetwork.UDP) {
				continue
			}
			list = append(list, network.PortBinding{Proto: string(port.Proto()), ContainerPort: port.Num()})
		}
	}
	slices.SortFunc(list, func(a, b network.PortBinding) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return list, nil
}
