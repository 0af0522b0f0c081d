package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/engine"
)

func (s *server) networkRoutes() []route {
	return []route{
		{"GET", "/networks", s.networksList},
		{"GET", "/networks/{name}", s.networksInspect},
		{"POST", "/networks/create", s.networksCreate},
		{"POST", "/networks/prune", s.networksPrune},
		{"POST", "/networks/{name}/connect", s.networksConnect},
		{"POST", "/networks/{name}/disconnect", s.networksDisconnect},
		{"DELETE", "/networks/{name}", s.networksRemove},
	}
}

// networks describes those there are: bridge, host, none, and what users have made.
func (s *server) networks(r *http.Request) ([]apinetwork.Network, error) {
	list := []apinetwork.Network{
		{Name: apinetwork.NetworkBridge, Driver: "bridge", EnableIPv4: true},
		{Name: apinetwork.NetworkHost, Driver: "host", EnableIPv4: true},
		{Name: apinetwork.NetworkNone, Driver: "null"},
	}
	info, err := s.engine.AbodeInfo(r.Context())
	if err != nil {
		return nil, err
	}
	bridge, err := s.engine.Bridge()
	if err != nil {
		return nil, err
	}
	for i := range list {
		n := &list[i]
		n.ID = engine.NetworkID(n.Name)
		n.Created = bridge.Made
		n.Scope = "local"
		n.IPAM = apinetwork.IPAM{Driver: "default", Config: []apinetwork.IPAMConfig{}}
		n.Options, n.Labels = map[string]string{}, map[string]string{}
	}
	list[0].Options["com.docker.network.bridge.name"] = info.Bridge
	list[0].Options["com.docker.network.bridge.default_bridge"] = "true"
	if bridge.Subnet.IsValid() {
		list[0].IPAM.Config = []apinetwork.IPAMConfig{{Subnet: bridge.Subnet, Gateway: bridge.Gateway}}
	}
	for _, n := range s.engine.Networks() {
		list = append(list, definedNetwork(n))
	}
	return list, nil
}

// findNetwork finds by name, ID or the beginning of one ID.
func (s *server) findNetwork(r *http.Request, name string) (apinetwork.Network, error) {
	list, err := s.networks(r)
	if err != nil {
		return apinetwork.Network{}, err
	}
	var found []apinetwork.Network
	for _, n := range list {
		if n.Name == name || n.ID == name {
			return n, nil
		}
		if name != "" && strings.HasPrefix(n.ID, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return apinetwork.Network{}, notFound("network " + name + " not found")
	case 1:
		return found[0], nil
	}
	return apinetwork.Network{}, invalid("network " + name + " is ambiguous (" + fmt.Sprint(len(found)) + " matches found on ID prefix)")
}

func (s *server) networksList(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "dangling", "driver", "id", "label", "label!", "name", "scope", "type")
	if err != nil {
		return err
	}
	dangling, err := f.boolean("dangling", false)
	if err != nil {
		return err
	}
	all, err := s.networks(r)
	if err != nil {
		return err
	}
	used := map[string]bool{} // of those that users have made
	for _, n := range s.engine.Networks() {
		used[n.ID] = n.Used
	}
	list := []apinetwork.Summary{}
	for _, n := range all {
		inUse, custom := used[n.ID]
		kind := "builtin"
		if custom {
			kind = "custom"
		}
		switch {
		case len(f["dangling"]) > 0 && dangling != (custom && !inUse),
			!f.any("name", func(v string) bool { return strings.Contains(n.Name, v) }),
			!f.any("id", func(v string) bool { return strings.HasPrefix(n.ID, v) }),
			!f.any("driver", func(v string) bool { return v == n.Driver }),
			!f.any("scope", func(v string) bool { return v == n.Scope }),
			!f.any("type", func(v string) bool { return v == kind }),
			!f.labels(n.Labels):
			continue
		}
		list = append(list, apinetwork.Summary{Network: n})
	}
	return writeJSON(w, http.StatusOK, list)
}

func (s *server) networksInspect(w http.ResponseWriter, r *http.Request) error {
	n, err := s.findNetwork(r, mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	if scope := r.URL.Query().Get("scope"); scope != "" && scope != n.Scope {
		return notFound("network " + mux.Vars(r)["name"] + " not found")
	}
	res := apinetwork.Inspect{Network: n, Containers: map[string]apinetwork.EndpointResource{}}
	list, err := s.engine.List(r.Context(), engine.ListOptions{})
	if err != nil {
		return err
	}
	for _, c := range list {
		if id, ep, ok := endpoint(c, n.Name); ok {
			res.Containers[id] = ep
		}
	}
	return writeJSON(w, http.StatusOK, res)
}

// endpoint describes a running container's place in a network.
func endpoint(c container.Summary, name string) (id string, res apinetwork.EndpointResource, ok bool) {
	if c.NetworkSettings == nil {
		return "", res, false
	}
	ep := c.NetworkSettings.Networks[name]
	if ep == nil {
		return "", res, false
	}
	res.EndpointID, res.MacAddress = ep.EndpointID, ep.MacAddress
	if len(c.Names) > 0 {
		res.Name = strings.TrimPrefix(c.Names[0], "/")
	}
	if ep.IPAddress.IsValid() {
		res.IPv4Address = netip.PrefixFrom(ep.IPAddress, ep.IPPrefixLen)
	}
	if ep.GlobalIPv6Address.IsValid() {
		res.IPv6Address = netip.PrefixFrom(ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen)
	}
	return c.ID, res, true
}
