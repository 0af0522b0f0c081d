package api

import (
	"net/http"

	"github.com/gorilla/mux"
)

// distribution describes an image as its registry has it.
func (s *server) distribution(w http.ResponseWriter, r *http.Request) error {
	auth, err := authHeader(r)
	if err != nil {
		return err
	}
	d, err := s.engine.Images().Distribution(r.Context(), mux.Vars(r)["name"], auth)
	if err != nil {
		return err
	}
	d.Platforms = nonNil(d.Platforms)
	return writeJSON(w, http.StatusOK, d)
}
