package api

import (
	"net/http"
	"time"

	"github.com/gorilla/mux"
	apiimage "github.com/moby/moby/api/types/image"

	"github.com/abode-run/abode/internal/image"
)

func (s *server) imagesRemove(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.Query()["platforms"]) > 0 {
		return later("remove one platform of an image", "")
	}
	removed, err := s.engine.RemoveImage(r.Context(), mux.Vars(r)["name"], queryBool(r, "force"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deleted(removed))
}

// imagesPrune removes what no tag names, or with dangling=false what no
// container uses: of a label, and from before a time.
func (s *server) imagesPrune(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "dangling", "label", "label!", "until")
	if err != nil {
		return err
	}
	dangling, err := f.boolean("dangling", true)
	if err != nil {
		return err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return err
	}
	removed, reclaimed, err := s.engine.PruneImages(r.Context(), !dangling, func(img image.Image) bool {
		return f.labels(img.Config.Config.Labels) && (until.IsZero() || img.Created.Before(until))
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, apiimage.PruneReport{
		ImagesDeleted:  deleted(removed),
		SpaceReclaimed: uint64(max(reclaimed, 0)),
	})
}

func deleted(removed []image.Removed) []apiimage.DeleteResponse {
	list := make([]apiimage.DeleteResponse, len(removed))
	for i, d := range removed {
		list[i] = apiimage.DeleteResponse{Untagged: d.Untagged, Deleted: d.Deleted}
	}
	return list
}
