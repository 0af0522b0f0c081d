package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/events"
	apivolume "github.com/moby/moby/api/types/volume"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/volume"
)

func (s *server) volumeRoutes() []route {
	return []route{
		{"GET", "/volumes", s.volumesList},
		{"POST", "/volumes/create", s.volumesCreate},
		{"POST", "/volumes/prune", s.volumesPrune},
		{"GET", "/volumes/{name}", s.volumesInspect},
		{"PUT", "/volumes/{name}", func(http.ResponseWriter, *http.Request) error {
			return later("update cluster volumes", "")
		}},
		{"DELETE", "/volumes/{name}", s.volumesRemove},
	}
}

// volumeDriver is the name of the one driver there is.
const volumeDriver = "local"

func apiVolume(v volume.Volume) apivolume.Volume {
	labels := v.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return apivolume.Volume{
		Name:       v.Name,
		Driver:     volumeDriver,
		Mountpoint: v.Mountpoint,
		Labels:     labels,
		Options:    map[string]string{},
		Scope:      "local",
		CreatedAt:  v.CreatedAt.Format(time.RFC3339),
	}
}

func (s *server) volumesList(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "dangling", "driver", "label", "label!", "name")
	if err != nil {
		return err
	}
	dangling, err := f.boolean("dangling", false)
	if err != nil {
		return err
	}
	all, err := s.engine.Volumes().List()
	if err != nil {
		return err
	}
	var used map[string]int64
	if len(f["dangling"]) > 0 {
		if used, err = s.volumeUsers(r); err != nil {
			return err
		}
	}
	res := apivolume.ListResponse{Volumes: []apivolume.Volume{}, Warnings: []string{}}
	for _, v := range all {
		switch {
		case used != nil && dangling != (used[v.Name] == 0),
			!f.any("name", func(part string) bool { return strings.Contains(v.Name, part) }),
			!f.any("driver", func(name string) bool { return name == volumeDriver }),
			!f.labels(v.Labels):
			continue
		}
		res.Volumes = append(res.Volumes, apiVolume(v))
	}
	return writeJSON(w, http.StatusOK, res)
}

// volumeUsers counts containers by the names of their volumes.
func (s *server) volumeUsers(r *http.Request) (map[string]int64, error) {
	list, err := s.engine.List(r.Context(), engine.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	used := map[string]int64{}
	for _, c := range list {
		for _, m := range c.Mounts {
			if m.Name != "" {
				used[m.Name]++
			}
		}
	}
	return used, nil
}

func (s *server) volumesCreate(w http.ResponseWriter, r *http.Request) error {
	var req apivolume.CreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	switch {
	case req.Driver != "" && req.Driver != volumeDriver:
		return notFound("no volume driver is called \"" + req.Driver + "\": the only one is \"local\"")
	case len(req.DriverOpts) > 0:
		return later("give volumes options", "Mount what you need on the host and give the container its path")
	case req.ClusterVolumeSpec != nil:
		return later("make cluster volumes", "")
	}
	_, missing := s.engine.Volumes().Get(req.Name)
	v, err := s.engine.Volumes().Create(req.Name, req.Labels)
	if err != nil {
		return err
	}
	if missing != nil {
		s.engine.Events().Publish(events.VolumeEventType, events.ActionCreate, v.Name, map[string]string{"driver": volumeDriver})
	}
	return writeJSON(w, http.StatusCreated, apiVolume(v))
}

func (s *server) volumesInspect(w http.ResponseWriter, r *http.Request) error {
	v, err := s.engine.Volumes().Get(mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, apiVolume(v))
}

func (s *server) volumesRemove(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.RemoveVolume(r.Context(), mux.Vars(r)["name"], queryBool(r, "force")))
}
