package api

import (
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/engine"
)

// commit makes an image of a container.
func (s *server) commit(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	opts := engine.CommitOptions{Author: q.Get("author"), Comment: q.Get("comment"), Pause: queryBoolOr(r, "pause", true)}
	if err := readJSON(w, r, &opts.Config); err != nil {
		return err
	}
	if repo := q.Get("repo"); repo != "" {
		opts.Ref = joinReference(repo, q.Get("tag"))
	}
	for _, c := range q["changes"] {
		opts.Changes = append(opts.Changes, strings.Split(c, "\n")...)
	}
	id, err := s.engine.Commit(r.Context(), q.Get("container"), opts)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, container.CommitResponse{ID: id.String()})
}
