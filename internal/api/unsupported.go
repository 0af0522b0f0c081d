package api

import (
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
)

// unsupportedRoutes answers what Docker has and abode has not (yet) in words,
// so that a user who meets it knows that nothing is broken.
func (s *server) unsupportedRoutes() []route {
	refuse := func(err error) handler {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	noBuild := refuse(later("build images", "Build with buildkit or buildah, then `load` the result, or pull it from a registry"))
	search := refuse(&apiError{errdefs.ErrNotImplemented, "searching registries is not supported: abode favours no registry over another. Search on the registry's own site"})
	swarm := refuse(&apiError{errdefs.ErrNotImplemented, "swarm mode is not supported: abode runs containers on one machine"})
	plugins := refuse(&apiError{errdefs.ErrNotImplemented, "plugins are not supported"})
	checkpoint := refuse(later("make checkpoints of containers", ""))

	rs := []route{
		{"POST", "/build", noBuild},
		{"POST", "/build/prune", nothingBuilt},
		{"POST", "/build/cancel", noBuild},
		{"POST", "/session", noBuild},
		{"POST", "/grpc", noBuild},
		{"GET", "/images/search", search},
		{"GET", "/plugins", func(w http.ResponseWriter, r *http.Request) error {
			return writeJSON(w, http.StatusOK, []struct{}{})
		}},
	}
	for _, m := range []string{"GET", "POST", "DELETE"} {
		rs = append(rs,
			route{m, "/containers/{name}/checkpoints", checkpoint},
			route{m, "/containers/{name}/checkpoints/{checkpoint}", checkpoint},
			route{m, "/plugins/{rest:.*}", plugins},
		)
		for _, noun := range []string{"swarm", "nodes", "services", "tasks", "secrets", "configs"} {
			rs = append(rs, route{m, "/" + noun, swarm}, route{m, "/" + noun + "/{rest:.*}", swarm})
		}
	}
	return rs
}

// nothingBuilt answers `system prune`, whose last step this is: there is no
// cache of builds, and nothing of it was removed.
func nothingBuilt(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, build.CachePruneReport{CachesDeleted: []string{}})
}
