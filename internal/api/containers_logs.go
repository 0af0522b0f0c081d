package api

import (
	"io"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/pkg/stdcopy"

	"github.com/abode-run/abode/internal/engine"
)

func (s *server) containersLogs(w http.ResponseWriter, r *http.Request) error {
	name := mux.Vars(r)["name"]
	opts := engine.LogsOptions{
		Stdout:     queryBool(r, "stdout"),
		Stderr:     queryBool(r, "stderr"),
		Follow:     queryBool(r, "follow"),
		Timestamps: queryBool(r, "timestamps"),
		Details:    queryBool(r, "details"),
		Tail:       -1,
	}
	if !opts.Stdout && !opts.Stderr {
		return invalid("Bad parameters: you must choose at least one stream")
	}
	var err error
	if opts.Since, err = queryTime(r, "since"); err != nil {
		return err
	}
	if opts.Until, err = queryTime(r, "until"); err != nil {
		return err
	}
	// As dockerd: what is no number means all of them.
	if n, err := strconv.Atoi(r.URL.Query().Get("tail")); err == nil && n >= 0 {
		opts.Tail = n
	}
	c, err := s.engine.Inspect(r.Context(), name, false)
	if err != nil {
		return err
	}
	framed := c.Config == nil || !c.Config.Tty

	var out io.Writer = w
	w.Header().Set("Content-Type", streamType(requested(r), framed))
	if opts.Follow {
		out = newFlushed(w, streamType(requested(r), framed))
	}
	// The ID: the name may get another owner while this follows.
	err = s.engine.Logs(r.Context(), c.ID, opts, func(stream byte, p []byte) error {
		if framed {
			return writeFrame(out, stdcopy.StdType(stream), p)
		}
		_, err := out.Write(p)
		return err
	})
	if err != nil && r.Context().Err() == nil && framed && started(w) {
		return writeFrame(out, stdcopy.Systemerr, []byte("Error grabbing logs: "+err.Error()+"\n"))
	}
	return err
}

// started says whether a response's status is out.
func started(w http.ResponseWriter) bool {
	r, ok := w.(*response)
	return ok && r.started
}
