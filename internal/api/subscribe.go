package api

import (
	"net/http"
	"time"

	"github.com/moby/moby/api/types/events"
)

func (s *server) subscribe(r *http.Request, since time.Time) (past []events.Message, live <-chan events.Message) {
	return nil, nil
}
