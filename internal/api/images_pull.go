package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/image"
)

// imagesCreate pulls an image (fromImage) or makes one of a file system's tar (fromSrc).
func (s *server) imagesCreate(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	switch {
	case q.Get("fromImage") != "":
		return s.imagesPull(w, r)
	case q.Get("fromSrc") != "":
		return s.imagesImport(w, r)
	}
	return invalid("cannot create an image: name it in fromImage, or send a tar with fromSrc=-")
}

func (s *server) imagesPull(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	auth, err := authHeader(r)
	if err != nil {
		return err
	}
	ref := joinReference(q.Get("fromImage"), q.Get("tag"))
	p := newProgress(w)
	defer p.end()
	began := time.Now()
	img, err := s.engine.Images().Pull(r.Context(), ref, q.Get("platform"), auth, p.image)
	s.engine.Did(r.Context(), engine.Operation{Name: engine.OperationPull, Image: ref, Began: began, Ended: time.Now(), Err: err})
	if err == nil {
		s.imageEvent(events.ActionPull, ref, q.Get("fromImage"), img.Config.Config.Labels)
	}
	return p.finish(err)
}

// image reports what the image store does.
func (p *progress) image(e image.Event) {
	if e.Pushed != nil {
		p.pushed(*e.Pushed)
		return
	}
	m := jsonstream.Message{ID: e.ID, Status: e.Status}
	if e.Current != 0 || e.Total != 0 {
		m.Progress = &jsonstream.Progress{Current: e.Current, Total: e.Total}
	} else if e.ID != "" {
		m.Progress = &jsonstream.Progress{} // as dockerd: {} for each layer's line
	}
	p.report(m)
}

// imagesImport makes an image of a root file system's tar in the body.
func (s *server) imagesImport(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if src := q.Get("fromSrc"); src != "-" {
		return later("import from a URL", "Fetch it yourself and import from standard input: curl -L URL | docker import - NAME")
	}
	ref := ""
	if repo := q.Get("repo"); repo != "" {
		ref = joinReference(repo, q.Get("tag"))
	}
	_ = http.NewResponseController(w).EnableFullDuplex() // the progress starts before the body's end
	p := newProgress(w)
	defer p.end()
	var changes []string
	for _, c := range q["changes"] {
		changes = append(changes, strings.Split(c, "\n")...)
	}
	body := newUpload(w, r)
	defer body.done()
	img, err := s.engine.Images().Import(r.Context(), body, ref, changes, q.Get("message"), q.Get("platform"))
	if err == nil {
		s.imageEvent(events.ActionImport, img.ID.String(), ref, nil)
		err = body.drain()
		p.status("", img.ID.String())
	}
	return p.finish(err)
}

// authHeader reads the credentials that came with a request; nil without any.
func authHeader(r *http.Request) (*registry.AuthConfig, error) {
	h := r.Header.Get(registry.AuthHeader)
	if h == "" || h == "null" {
		return nil, nil
	}
	auth, err := decodeAuth(h)
	if err != nil {
		return nil, err
	}
	if *auth == (registry.AuthConfig{}) {
		return nil, nil
	}
	return auth, nil
}

// decodeAuth reads an X-Registry-Auth header: base64url of JSON. Some clients
// leave the padding away, some send the standard alphabet.
func decodeAuth(h string) (*registry.AuthConfig, error) {
	h = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(h, "="))
	if n := len(h) % 4; n != 0 {
		h += strings.Repeat("=", 4-n)
	}
	auth, err := authconfig.Decode(h)
	if err != nil {
		return nil, invalid(err.Error())
	}
	return auth, nil
}
