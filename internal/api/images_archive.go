package api

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/abode-run/abode/internal/image"
)

// imagesSave sends one image or several as a tar. Whether they exist is found
// out before the response begins.
func (s *server) imagesSave(w http.ResponseWriter, r *http.Request) error {
	names := r.URL.Query()["names"]
	if name := mux.Vars(r)["name"]; name != "" {
		names = []string{name}
	}
	if len(names) == 0 {
		return invalid("cannot save: name at least one image")
	}
	for _, name := range names {
		if _, err := s.getImage(r, name); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/x-tar")
	d := newDownload(w)
	defer d.done()
	return s.engine.Images().Save(r.Context(), d, names)
}

// imagesLoad reads a tar that save wrote, of Docker's form or OCI's.
func (s *server) imagesLoad(w http.ResponseWriter, r *http.Request) error {
	quiet := queryBoolOr(r, "quiet", true)
	_ = http.NewResponseController(w).EnableFullDuplex() // the progress starts before the body's end
	p := newProgress(w)
	defer p.end()
	body := newUpload(w, r)
	defer body.done()
	images, err := s.engine.Images().Load(r.Context(), body, func(e image.Event) {
		switch {
		case e.ID == "" && strings.HasPrefix(e.Status, "Loaded image"):
			p.report(jsonstream.Message{Stream: e.Status + "\n"})
		case !quiet:
			p.image(e)
		}
	})
	for _, img := range images {
		s.imageEvent(events.ActionLoad, img.ID.String(), img.ID.String(), nil)
	}
	if err == nil {
		err = body.drain()
	}
	return p.finish(err)
}
