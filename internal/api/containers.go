package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/abode-run/abode/internal/engine"
)

func (s *server) containerRoutes() []route {
	return []route{
		{"GET", "/containers/json", s.containersList},
		{"POST", "/containers/create", s.containersCreate},
		{"POST", "/containers/prune", s.containersPrune},
		{"GET", "/containers/{name}/json", s.containersInspect},
		{"POST", "/containers/{name}/start", s.containersStart},
		{"POST", "/containers/{name}/stop", s.containersStop},
		{"POST", "/containers/{name}/restart", s.containersRestart},
		{"POST", "/containers/{name}/kill", s.containersKill},
		{"POST", "/containers/{name}/pause", s.containersPause},
		{"POST", "/containers/{name}/unpause", s.containersUnpause},
		{"POST", "/containers/{name}/rename", s.containersRename},
		{"POST", "/containers/{name}/update", s.containersUpdate},
		{"POST", "/containers/{name}/resize", s.containersResize},
		{"POST", "/containers/{name}/wait", s.containersWait},
		{"POST", "/containers/{name}/attach", s.containersAttach},
		{"GET", "/containers/{name}/attach/ws", s.containersAttachWebSocket},
		{"GET", "/containers/{name}/logs", s.containersLogs},
		{"GET", "/containers/{name}/top", s.containersTop},
		{"GET", "/containers/{name}/stats", s.containersStats},
		{"GET", "/containers/{name}/changes", s.containersChanges},
		{"POST", "/commit", s.commit},
		{"GET", "/containers/{name}/export", s.containersExport},
		{"HEAD", "/containers/{name}/archive", s.containersStatPath},
		{"GET", "/containers/{name}/archive", s.containersArchive},
		{"PUT", "/containers/{name}/archive", s.containersExtract},
		{"DELETE", "/containers/{name}", s.containersRemove},
	}
}

// containerFilters are the terms of GET /containers/json.
var containerFilters = []string{
	"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task",
	"isolation", "label", "name", "network", "publish", "since", "status", "volume",
}

func (s *server) containersList(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, containerFilters...)
	if err != nil {
		return err
	}
	limit, err := queryInt(r, "limit")
	if err != nil {
		return err
	}
	opts := engine.ListOptions{
		All:     queryBool(r, "all") || len(f["status"]) > 0, // a state that was asked for is shown
		Filters: f,
		Size:    queryBool(r, "size"),
	}
	if limit != nil {
		opts.Limit = max(*limit, 0)
	}
	list, err := s.engine.List(r.Context(), opts)
	if err != nil {
		return err
	}
	if list == nil {
		list = []container.Summary{}
	}
	if requested(r).before(52) {
		for i := range list {
			list[i].Health = nil
		}
	}
	return writeJSON(w, http.StatusOK, list)
}

// createRequest is what clients of all versions send to create a container.
type createRequest struct {
	container.CreateRequest
	MacAddress string // before API 1.52 beside the config; now at each endpoint
	obsolete   obsolete
}

// obsolete is what the newest API has no word for, and clients still send.
type obsolete struct {
	KernelMemory int64
}

// warnings says of each that it has no effect, in Docker's words.
func (o obsolete) warnings() []string {
	if o.KernelMemory == 0 {
		return nil
	}
	return []string{"Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded."}
}

// UnmarshalJSON reads what obsolete has too.
func (req *createRequest) UnmarshalJSON(b []byte) error {
	type plain createRequest
	if err := json.Unmarshal(b, (*plain)(req)); err != nil {
		return err
	}
	var old struct{ HostConfig obsolete }
	if err := json.Unmarshal(b, &old); err != nil {
		return err
	}
	req.obsolete = old.HostConfig
	return nil
}

func (s *server) containersCreate(w http.ResponseWriter, r *http.Request) error {
	var req createRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Config == nil {
		return invalid("config cannot be empty in order to create a container")
	}
	if req.HostConfig == nil {
		req.HostConfig = &container.HostConfig{}
	}
	if req.NetworkingConfig == nil {
		req.NetworkingConfig = &network.NetworkingConfig{}
	}
	if err := req.upgrade(requested(r)); err != nil {
		return err
	}
	name := strings.TrimPrefix(r.URL.Query().Get("name"), "/")
	ctx, timing := engine.WithTiming(r.Context())
	id, warnings, err := s.engine.Create(ctx, name, req.Config, req.HostConfig, req.NetworkingConfig, r.URL.Query().Get("platform"))
	if err != nil {
		return err
	}
	if warnings = append(warnings, req.obsolete.warnings()...); warnings == nil {
		warnings = []string{}
	}
	w.Header().Set("Server-Timing", timing.String())
	return writeJSON(w, http.StatusCreated, container.CreateResponse{ID: id, Warnings: warnings})
}

func (s *server) containersInspect(w http.ResponseWriter, r *http.Request) error {
	c, err := s.engine.Inspect(r.Context(), mux.Vars(r)["name"], queryBool(r, "size"))
	if err != nil {
		return err
	}
	if requested(r).before(45) {
		shortAliases(c)
	}
	if requested(r).before(52) {
		return writeJSON(w, http.StatusOK, oldInspect(c))
	}
	return writeJSON(w, http.StatusOK, c)
}

func (s *server) containersPrune(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "label", "label!", "until")
	if err != nil {
		return err
	}
	report, err := s.engine.ContainersPrune(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}

func (s *server) containersTop(w http.ResponseWriter, r *http.Request) error {
	top, err := s.engine.Top(r.Context(), mux.Vars(r)["name"], r.URL.Query().Get("ps_args"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, top)
}
