package api

import "net/http"

func (s *server) distribution(w http.ResponseWriter, r *http.Request) error {
	return later("inspect an image in its registry", "Pull it and inspect it here")
}
