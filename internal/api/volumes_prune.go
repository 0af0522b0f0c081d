package api

import (
	"errors"
	"net/http"

	"github.com/containerd/errdefs"
	apivolume "github.com/moby/moby/api/types/volume"
)

// volumesPrune removes volumes that no container uses: anonymous ones, or with
// all=true, and always before API 1.42, named ones too.
func (s *server) volumesPrune(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "all", "label", "label!")
	if err != nil {
		return err
	}
	all, err := f.boolean("all", requested(r).before(42))
	if err != nil {
		return err
	}
	list, err := s.engine.Volumes().List()
	if err != nil {
		return err
	}
	used, err := s.volumeUsers(r)
	if err != nil {
		return err
	}
	report := apivolume.PruneReport{VolumesDeleted: []string{}}
	for _, v := range list {
		if !all && !v.Anonymous() || !f.labels(v.Labels) || used[v.Name] > 0 {
			continue
		}
		if err := r.Context().Err(); err != nil {
			return err
		}
		size, err := s.engine.Volumes().Usage(v.Name)
		if err == nil {
			err = s.engine.RemoveVolume(r.Context(), v.Name, false)
		}
		switch {
		case err == nil:
			report.VolumesDeleted = append(report.VolumesDeleted, v.Name)
			report.SpaceReclaimed += uint64(max(size, 0))
		case errors.Is(err, errdefs.ErrConflict), errors.Is(err, errdefs.ErrNotFound):
			// Taken into use or removed since the list was made.
		default:
			return err
		}
	}
	return writeJSON(w, http.StatusOK, report)
}
