package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/engine"
)

// statHeader carries a path's container.PathStat, base64 of JSON.
const statHeader = "X-Docker-Container-Path-Stat"

func (s *server) containersChanges(w http.ResponseWriter, r *http.Request) error {
	changes, err := s.engine.Changes(r.Context(), mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	if changes == nil {
		changes = []container.FilesystemChange{}
	}
	return writeJSON(w, http.StatusOK, changes)
}

func (s *server) containersExport(w http.ResponseWriter, r *http.Request) error {
	body, err := s.engine.Export(r.Context(), mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	return copyBody(w, r, body)
}

// archivePath reads the parameter that says where in the container.
func archivePath(r *http.Request) (name, path string, err error) {
	path = r.URL.Query().Get("path")
	if path == "" {
		return "", "", invalid("bad parameter: 'path' cannot be empty")
	}
	return mux.Vars(r)["name"], path, nil
}

func setStat(w http.ResponseWriter, stat container.PathStat) error {
	p, err := json.Marshal(stat)
	if err != nil {
		return fmt.Errorf("cannot encode the file's description: %w", err)
	}
	w.Header().Set(statHeader, base64.StdEncoding.EncodeToString(p))
	return nil
}

func (s *server) containersStatPath(w http.ResponseWriter, r *http.Request) error {
	name, path, err := archivePath(r)
	if err != nil {
		return err
	}
	stat, err := s.engine.StatPath(r.Context(), name, path)
	if err != nil {
		return err
	}
	if err := setStat(w, stat); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *server) containersArchive(w http.ResponseWriter, r *http.Request) error {
	name, path, err := archivePath(r)
	if err != nil {
		return err
	}
	body, stat, err := s.engine.Archive(r.Context(), name, path)
	if err != nil {
		return err
	}
	if err := setStat(w, stat); err != nil {
		body.Close()
		return err
	}
	w.Header().Set("Content-Type", "application/x-tar")
	return copyBody(w, r, body)
}

func (s *server) containersExtract(w http.ResponseWriter, r *http.Request) error {
	name, path, err := archivePath(r)
	if err != nil {
		return err
	}
	body := newUpload(w, r)
	defer body.done()
	err = s.engine.Extract(r.Context(), name, path, engine.ExtractOptions{
		NoOverwriteDirNonDir: queryBool(r, "noOverwriteDirNonDir"),
		CopyUIDGID:           queryBool(r, "copyUIDGID"),
	}, body)
	if err != nil {
		return err
	}
	if err := body.drain(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
