package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/engine"
)

// statsInterval is the time between two samples of a stream.
const statsInterval = time.Second

// containersStats sends samples: an endless stream, one a second; one with the
// sample before it (stream=0), for which it takes two; or one alone (one-shot).
func (s *server) containersStats(w http.ResponseWriter, r *http.Request) error {
	c, err := s.engine.Inspect(r.Context(), mux.Vars(r)["name"], false)
	if err != nil {
		return err
	}
	stream := queryBoolOr(r, "stream", true)
	oneShot := queryBool(r, "one-shot")
	if stream && oneShot {
		return invalid("cannot have stream=true and one-shot=true")
	}
	sample := func() (container.StatsResponse, error) { return s.stats(r, c.ID, c.Name) }

	now, err := sample()
	if err != nil {
		return err
	}
	if !stream {
		if !oneShot && !now.Read.IsZero() {
			if err := sleep(r, statsInterval); err != nil {
				return err
			}
			before := now
			if now, err = sample(); err != nil {
				return err
			}
			follow(&now, before)
		}
		return writeJSON(w, http.StatusOK, now)
	}
	out := &lines{w: newFlushed(w, "application/json")}
	for {
		if err := out.write(now); err != nil {
			return err
		}
		if err := sleep(r, statsInterval); err != nil {
			return err
		}
		before := now
		now, err = sample()
		if errors.Is(err, errdefs.ErrNotFound) {
			return nil // removed: the stream is at its end
		}
		if err != nil {
			return err
		}
		follow(&now, before)
	}
}

// stats takes one sample. One of a container that does not run is empty but
// for its name, as dockerd has it.
func (s *server) stats(r *http.Request, id, name string) (container.StatsResponse, error) {
	st, err := s.engine.Stats(r.Context(), id)
	if errors.Is(err, errdefs.ErrConflict) || errors.Is(err, errdefs.ErrFailedPrecondition) {
		return container.StatsResponse{ID: id, Name: name, OSType: "linux"}, nil
	}
	return st, err
}

// follow puts what a sample has to be compared with into it.
func follow(now *container.StatsResponse, before container.StatsResponse) {
	now.PreRead, now.PreCPUStats = before.Read, before.CPUStats
	if cpu, ok := before.MemoryStats.Stats[engine.HypervisorCPU]; ok && now.MemoryStats.Stats != nil {
		now.MemoryStats.Stats[engine.HypervisorCPUBefore] = cpu
	}
}

// sleep waits, or less when the client hangs up.
func sleep(r *http.Request, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}
