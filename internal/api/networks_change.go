package api

import (
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/gorilla/mux"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/network/networks"
)

// definedNetwork describes one that a user has made.
func definedNetwork(n engine.Network) apinetwork.Network {
	res := apinetwork.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: engine.NetworkDriver, EnableIPv4: true,
		IPAM: apinetwork.IPAM{Driver: "default", Config: []apinetwork.IPAMConfig{
			{Subnet: n.Subnet, IPRange: n.Range, Gateway: n.Gateway},
		}},
		Internal: n.Internal, Attachable: n.Attachable,
		Options: n.Options, Labels: n.Labels,
	}
	if n.IPv6 {
		res.EnableIPv6 = true
		res.IPAM.Config = append(res.IPAM.Config, apinetwork.IPAMConfig{Subnet: n.Subnet6, IPRange: n.Range6, Gateway: n.Gateway6})
	}
	if res.Options == nil {
		res.Options = map[string]string{}
	}
	if res.Labels == nil {
		res.Labels = map[string]string{}
	}
	return res
}

func (s *server) networksCreate(w http.ResponseWriter, r *http.Request) error {
	var req apinetwork.CreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	spec, err := networkSpec(&req)
	if err != nil {
		return err
	}
	id, err := s.engine.CreateNetwork(r.Context(), spec)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, apinetwork.CreateResponse{ID: id})
}

// networkSpec reads what is asked for, and refuses what there is not.
func networkSpec(req *apinetwork.CreateRequest) (networks.Spec, error) {
	spec := networks.Spec{Name: req.Name, Labels: req.Labels, Options: req.Options, Internal: req.Internal, Attachable: req.Attachable,
		IPv6: req.EnableIPv6 != nil && *req.EnableIPv6}
	switch {
	case req.Driver != "" && req.Driver != engine.NetworkDriver:
		return spec, notFound("no network driver is called \"" + req.Driver + "\": the only one is \"bridge\"")
	case req.Scope != "" && req.Scope != "local":
		return spec, invalid("networks of scope \"" + req.Scope + "\" are not supported: abode runs containers on one machine")
	case req.Ingress:
		return spec, invalid("ingress networks are not supported: abode runs containers on one machine")
	case req.ConfigOnly, req.ConfigFrom != nil && req.ConfigFrom.Network != "":
		return spec, later("make networks of another's configuration", "Give each its options")
	case req.EnableIPv4 != nil && !*req.EnableIPv4:
		return spec, later("make networks without IPv4", "Leave --ipv4=false out; --ipv6 adds IPv6")
	case req.IPAM == nil:
		return spec, nil
	case req.IPAM.Driver != "" && req.IPAM.Driver != "default":
		return spec, notFound("no IPAM driver is called \"" + req.IPAM.Driver + "\": the only one is \"default\"")
	case len(req.IPAM.Options) > 0:
		return spec, later("give the IPAM driver options", "")
	}
	return spec, readIPAM(&spec, req.IPAM.Config)
}

// readIPAM reads what is asked of addresses: at most one subnet of a family.
// Those of IPv6 are ignored, as by Docker, in a network without.
func readIPAM(spec *networks.Spec, list []apinetwork.IPAMConfig) error {
	var four, six int
	for _, c := range list {
		if len(c.AuxAddress) > 0 {
			return later("keep addresses of a network for others (--aux-address)", "Choose containers' addresses from --ip-range")
		}
		if c.Subnet.Addr().Is6() || !c.Subnet.IsValid() && c.Gateway.Is6() {
			six++
			if spec.IPv6 {
				spec.Subnet6, spec.Range6, spec.Gateway6 = c.Subnet, c.IPRange, c.Gateway
			}
		} else {
			four++
			spec.Subnet, spec.Range, spec.Gateway = c.Subnet, c.IPRange, c.Gateway
		}
	}
	if four > 1 || six > 1 {
		return &apiError{errdefs.ErrPermissionDenied, "bridge driver doesn't support multiple subnets"}
	}
	return nil
}

func (s *server) networksRemove(w http.ResponseWriter, r *http.Request) error {
	n, err := s.findNetwork(r, mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	switch n.Name {
	case apinetwork.NetworkBridge, apinetwork.NetworkHost, apinetwork.NetworkNone:
		return &apiError{errdefs.ErrPermissionDenied, n.Name + " is a pre-defined network and cannot be removed"}
	}
	return done(w, s.engine.RemoveNetwork(r.Context(), n.ID))
}

// networksPrune removes the networks that users have made and no running
// container is in.
func (s *server) networksPrune(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "label", "label!", "until")
	if err != nil {
		return err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return err
	}
	gone, err := s.engine.PruneNetworks(r.Context(), func(n engine.Network) bool {
		return f.labels(n.Labels) && (until.IsZero() || n.Created.Before(until))
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, apinetwork.PruneReport{NetworksDeleted: gone})
}

func (s *server) networksConnect(w http.ResponseWriter, r *http.Request) error {
	var req apinetwork.ConnectRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if err := s.engine.Connect(r.Context(), mux.Vars(r)["name"], req.Container, req.EndpointConfig); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *server) networksDisconnect(w http.ResponseWriter, r *http.Request) error {
	var req apinetwork.DisconnectRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if err := s.engine.Disconnect(r.Context(), mux.Vars(r)["name"], req.Container); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
