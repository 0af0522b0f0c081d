package api

import (
	"net/http"

	"github.com/gorilla/mux"
)

// abodeRoutes are what Docker has no word for.
func (s *server) abodeRoutes() []route {
	return []route{
		{"GET", "/abode/info", s.abodeInfo},
		{"GET", "/abode/kernels", s.kernelsList},
		{"POST", "/abode/kernels/install", s.kernelsInstall},
		{"POST", "/abode/kernels/import", s.kernelsImport},
		{"POST", "/abode/kernels/{name}/use", s.kernelsUse},
		{"DELETE", "/abode/kernels/{name}", s.kernelsRemove},
	}
}

func (s *server) abodeInfo(w http.ResponseWriter, r *http.Request) error {
	info, err := s.engine.AbodeInfo(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, info)
}

func (s *server) kernelsList(w http.ResponseWriter, r *http.Request) error {
	list, err := s.engine.Kernels().List()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}

// kernelsInstall gets a kernel from the distribution and tells of its progress.
func (s *server) kernelsInstall(w http.ResponseWriter, r *http.Request) error {
	p := newProgress(w)
	defer p.end()
	_, err := s.engine.Kernels().Install(r.Context(), r.URL.Query().Get("version"), p.text)
	return p.finish(err)
}

// kernelsImport adds a kernel from the body: a .deb, or a tar of a directory.
// source is what people are told that it came from, such as a file's name.
func (s *server) kernelsImport(w http.ResponseWriter, r *http.Request) error {
	_ = http.NewResponseController(w).EnableFullDuplex() // the progress starts before the body's end
	p := newProgress(w)
	defer p.end()
	body := newUpload(w, r)
	defer body.done()
	source := cleanPath(r.URL.Query().Get("source"))
	if source == "" {
		source = "the upload"
	}
	_, err := s.engine.Kernels().Import(r.Context(), body, r.URL.Query().Get("name"), source, p.text)
	return p.finish(err)
}

func (p *progress) text(status string) { p.status("", status) }

func (s *server) kernelsUse(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Kernels().Use(mux.Vars(r)["name"]))
}

func (s *server) kernelsRemove(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.engine.Kernels().Remove(mux.Vars(r)["name"]))
}
