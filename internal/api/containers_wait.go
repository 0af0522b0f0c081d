package api

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"
)

// containersWait sends the header as soon as the wait is registered: a client
// that has it may start the container and will not miss its end. Before API
// 1.30 the status came with the end.
func (s *server) containersWait(w http.ResponseWriter, r *http.Request) error {
	cond := container.WaitCondition(r.URL.Query().Get("condition"))
	old := requested(r).before(30)
	if old || cond == "" {
		cond = container.WaitConditionNotRunning
	}
	switch cond {
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return invalid(fmt.Sprintf("invalid condition: %q", cond))
	}
	ended, err := s.engine.Wait(r.Context(), mux.Vars(r)["name"], cond)
	if err != nil {
		return err
	}
	if !old {
		newFlushed(w, "application/json")
	}
	select {
	case <-r.Context().Done():
		return r.Context().Err()
	case res, ok := <-ended:
		if !ok {
			return fmt.Errorf("cannot wait for container %s: the daemon stops", mux.Vars(r)["name"])
		}
		if old {
			return writeJSON(w, http.StatusOK, res)
		}
		return (&lines{w: w}).write(res)
	}
}
