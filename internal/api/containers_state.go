package api

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/engine"
)

func (s *server) containersStart(w http.ResponseWriter, r *http.Request) error {
	// Before API 1.24 a host config came in the body. "{}" and "null" still do.
	if r.ContentLength > 7 || r.ContentLength == -1 {
		return invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	for _, p := range []string{"checkpoint", "checkpoint-dir"} {
		if r.URL.Query().Get(p) != "" {
			return later("start from a checkpoint", "")
		}
	}
	ctx, timing := engine.WithTiming(r.Context())
	err := s.engine.Start(ctx, mux.Vars(r)["name"])
	w.Header().Set("Server-Timing", timing.String())
	return done(w, err)
}

func (s *server) containersStop(w http.ResponseWriter, r *http.Request) error {
	return end(w, r, s.engine.Stop)
}

func (s *server) containersRestart(w http.ResponseWriter, r *http.Request) error {
	return end(w, r, s.engine.Restart)
}

// end serves what takes a signal and a time to wait for its effect.
func end(w http.ResponseWriter, r *http.Request, f func(ctx context.Context, name, signal string, timeout *int) error) error {
	timeout, err := queryInt(r, "t")
	if err != nil {
		return err
	}
	return done(w, f(r.Context(), mux.Vars(r)["name"], r.URL.Query().Get("signal"), timeout))
}

func (s *server) containersKill(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Kill(r.Context(), mux.Vars(r)["name"], r.URL.Query().Get("signal")))
}

func (s *server) containersPause(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Pause(r.Context(), mux.Vars(r)["name"]))
}

func (s *server) containersUnpause(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Unpause(r.Context(), mux.Vars(r)["name"]))
}

func (s *server) containersRename(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Rename(r.Context(), mux.Vars(r)["name"], r.URL.Query().Get("name")))
}

func (s *server) containersRemove(w http.ResponseWriter, r *http.Request) error {
	if queryBool(r, "link") {
		return later("remove links between containers", "")
	}
	return done(w, s.engine.Remove(r.Context(), mux.Vars(r)["name"], engine.RemoveOptions{
		Force:   queryBool(r, "force"),
		Volumes: queryBool(r, "v"),
	}))
}

func (s *server) containersUpdate(w http.ResponseWriter, r *http.Request) error {
	var cfg struct {
		container.UpdateConfig
		obsolete
	}
	if err := readJSON(w, r, &cfg); err != nil {
		return err
	}
	warnings, err := s.engine.Update(r.Context(), mux.Vars(r)["name"], cfg.UpdateConfig)
	if err != nil {
		return err
	}
	if warnings = append(warnings, cfg.warnings()...); warnings == nil {
		warnings = []string{}
	}
	return writeJSON(w, http.StatusOK, container.UpdateResponse{Warnings: warnings})
}

func (s *server) containersResize(w http.ResponseWriter, r *http.Request) error {
	width, height, err := querySize(r)
	if err != nil {
		return err
	}
	if err := s.engine.Resize(r.Context(), mux.Vars(r)["name"], width, height); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// done answers a request that has no response but success.
func done(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
