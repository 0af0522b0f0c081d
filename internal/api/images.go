package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/image"
)

// imageRoutes: a name has slashes, so the fixed paths come first.
func (s *server) imageRoutes() []route {
	return []route{
		{"GET", "/images/json", s.imagesList},
		{"GET", "/images/get", s.imagesSave},
		{"POST", "/images/load", s.imagesLoad},
		{"POST", "/images/create", s.imagesCreate},
		{"POST", "/images/prune", s.imagesPrune},
		{"GET", "/images/{name:.*}/json", s.imagesInspect},
		{"GET", "/images/{name:.*}/history", s.imagesHistory},
		{"GET", "/images/{name:.*}/attestations", func(http.ResponseWriter, *http.Request) error {
			return later("tell an image's attestations", "The registry has them")
		}},
		{"GET", "/images/{name:.*}/get", s.imagesSave},
		{"POST", "/images/{name:.*}/tag", s.imagesTag},
		{"POST", "/images/{name:.*}/push", s.imagesPush},
		{"DELETE", "/images/{name:.*}", s.imagesRemove},
		{"GET", "/distribution/{name:.*}/json", s.distribution},
	}
}

func (s *server) imagesList(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilters(r, "before", "dangling", "label", "label!", "reference", "since", "until")
	if err != nil {
		return err
	}
	// API versions before 1.25 had a parameter instead.
	if name := r.URL.Query().Get("filter"); name != "" && requested(r).before(41) {
		f["reference"] = map[string]bool{name: true}
	}
	list, err := s.images(r.Context(), f)
	if err != nil {
		return err
	}
	if requested(r).before(44) {
		return writeJSON(w, http.StatusOK, oldImages(list))
	}
	return writeJSON(w, http.StatusOK, list)
}

// images lists the images that match, newest first.
func (s *server) images(ctx context.Context, f filters) ([]apiimage.Summary, error) {
	all, err := s.engine.Images().List(ctx)
	if err != nil {
		return nil, err
	}
	match, err := s.imageMatcher(ctx, f)
	if err != nil {
		return nil, err
	}
	users, err := s.imageUsers(ctx)
	if err != nil {
		return nil, err
	}
	list := []apiimage.Summary{}
	for _, img := range all {
		tags := make([]string, 0, len(img.RepoTags))
		for _, t := range img.RepoTags {
			if f.any("reference", func(p string) bool { return matchReference(p, t) }) {
				tags = append(tags, t)
			}
		}
		if !match(img) || len(f["reference"]) > 0 && len(tags) == 0 {
			continue
		}
		list = append(list, apiimage.Summary{
			ID:          img.ID.String(),
			RepoTags:    tags,
			RepoDigests: nonNil(img.RepoDigests),
			Created:     unixSeconds(img.Created),
			Size:        img.Size,
			SharedSize:  -1,
			Containers:  users[img.ID.String()],
			Labels:      img.Config.Config.Labels,
		})
	}
	slices.SortStableFunc(list, func(a, b apiimage.Summary) int { return int(min(max(b.Created-a.Created, -1), 1)) })
	return list, nil
}

// imageMatcher makes a predicate of all filters but "reference".
func (s *server) imageMatcher(ctx context.Context, f filters) (func(image.Image) bool, error) {
	dangling, err := f.boolean("dangling", false)
	if err != nil {
		return nil, err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return nil, err
	}
	var before, since time.Time
	for term, t := range map[string]*time.Time{"before": &before, "since": &since} {
		for _, ref := range f.values(term) {
			img, err := s.engine.Images().Get(ctx, ref)
			if err != nil {
				return nil, err
			}
			*t = img.Created
		}
	}
	return func(img image.Image) bool {
		switch {
		case len(f["dangling"]) > 0 && dangling != (len(img.RepoTags) == 0),
			!before.IsZero() && !img.Created.Before(before),
			!since.IsZero() && !img.Created.After(since),
			!until.IsZero() && !img.Created.Before(until):
			return false
		}
		return f.labels(img.Config.Config.Labels)
	}, nil
}

// imageUsers counts containers by image ID.
func (s *server) imageUsers(ctx context.Context) (map[string]int64, error) {
	list, err := s.engine.List(ctx, engine.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	users := map[string]int64{}
	for _, c := range list {
		users[c.ImageID]++
	}
	return users, nil
}

func (s *server) imagesInspect(w http.ResponseWriter, r *http.Request) error {
	img, err := s.getImage(r, mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	cfg := img.Config
	res := apiimage.InspectResponse{
		ID:           img.ID.String(),
		RepoTags:     nonNil(img.RepoTags),
		RepoDigests:  nonNil(img.RepoDigests),
		Author:       cfg.Author,
		Config:       &dockerspec.DockerOCIImageConfig{ImageConfig: cfg.Config.ImageConfig, DockerOCIImageConfigExt: cfg.Config.DockerOCIImageConfigExt},
		Architecture: cfg.Architecture,
		Variant:      cfg.Variant,
		Os:           cfg.OS,
		OsVersion:    cfg.OSVersion,
		Size:         img.Size,
		RootFS:       apiimage.RootFS{Type: "layers", Layers: digests(cfg.RootFS.DiffIDs)},
		Metadata:     apiimage.Metadata{LastTagTime: img.Tagged},
		Descriptor:   &img.Manifest,
	}
	if n := len(cfg.History); n > 0 {
		res.Comment = cfg.History[n-1].Comment
	}
	if !img.Created.IsZero() {
		res.Created = img.Created.Format(time.RFC3339Nano)
	}
	if requested(r).before(44) {
		return writeJSON(w, http.StatusOK, struct {
			apiimage.InspectResponse
			VirtualSize int64
		}{res, res.Size})
	}
	return writeJSON(w, http.StatusOK, res)
}

func (s *server) imagesHistory(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.getImage(r, mux.Vars(r)["name"]); err != nil {
		return err
	}
	history, err := s.engine.Images().History(r.Context(), mux.Vars(r)["name"])
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(history))
}

func (s *server) imagesTag(w http.ResponseWriter, r *http.Request) error {
	repo, tag := r.URL.Query().Get("repo"), r.URL.Query().Get("tag")
	if repo == "" {
		return invalid("cannot tag an image: the parameter repo is missing")
	}
	if tag != "" {
		repo += ":" + tag
	}
	if err := s.engine.Images().Tag(r.Context(), mux.Vars(r)["name"], repo); err != nil {
		return err
	}
	if img, err := s.engine.Images().Get(r.Context(), repo); err == nil {
		s.imageEvent(events.ActionTag, img.ID.String(), repo, nil)
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// imageEvent tells that an image came or got a name. Its going is the engine's
// to tell.
func (s *server) imageEvent(action events.Action, id, name string, labels map[string]string) {
	attributes := map[string]string{}
	maps.Copy(attributes, labels)
	attributes["name"] = name
	s.engine.Events().Publish(events.ImageEventType, action, id, attributes)
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func digests(list []digest.Digest) []string {
	s := make([]string, len(list))
	for i, d := range list {
		s[i] = d.String()
	}
	return s
}

// unixSeconds is 0 for no time, which Docker shows as "N/A".
func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// joinReference puts a name and a tag or digest together, as they come in two
// parameters.
func joinReference(name, tag string) string {
	switch {
	case tag == "":
		return strings.TrimSuffix(name, ":")
	case strings.Contains(tag, ":"): // sha256:…
		return name + "@" + tag
	}
	return name + ":" + tag
}
