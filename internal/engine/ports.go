package engine

import (
	"cmp"
	"slices"

	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/network"
)

// portsIn are those to publish in a network, when that of the way out is known.
func (rec *record) portsIn(p *endpoint, out string) ([]network.PortBinding, error) {
	if p.Network != out {
		return nil, nil
	}
	return rec.ports()
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
