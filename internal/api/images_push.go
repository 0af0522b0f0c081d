package api

import (
	"encoding/json"
	"net/http"

	"github.com/distribution/reference"
	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/abode-run/abode/internal/image"
)

// imagesPush sends an image, or all tags of a repository, to its registry.
func (s *server) imagesPush(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	auth, err := authHeader(r)
	if err != nil {
		return err
	}
	name := mux.Vars(r)["name"]
	ref, err := reference.ParseNormalizedNamed(joinReference(name, q.Get("tag")))
	if err != nil {
		return invalid("invalid reference format: " + err.Error())
	}
	if _, ok := ref.(reference.Digested); ok {
		return invalid("cannot push a digest reference; name a tag")
	}
	if q.Get("platform") != "" {
		if _, err := s.getImage(r, ref.String()); err != nil {
			return err
		}
	}
	p := newProgress(w)
	defer p.end()
	err = s.engine.Images().Push(r.Context(), ref.String(), auth, p.image)
	if err == nil {
		s.imageEvent(events.ActionPush, reference.FamiliarString(ref), reference.FamiliarName(ref), nil)
	}
	return p.finish(err)
}

// pushResult is what dockerd tells out of band of each tag it has pushed.
type pushResult struct {
	Tag    string
	Digest string
	Size   int64
}

func (p *progress) pushed(what image.Pushed) {
	raw, err := json.Marshal(pushResult{what.Tag, what.Digest.String(), what.Size})
	if err != nil {
		return
	}
	aux := json.RawMessage(raw)
	p.report(jsonstream.Message{Progress: &jsonstream.Progress{}, Aux: &aux})
}
