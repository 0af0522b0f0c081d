package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/abode-run/abode/internal/image"
)

// getImage finds an image for a request that may ask for a platform. An image
// is here for one platform alone, so another is not found.
func (s *server) getImage(r *http.Request, name string) (image.Image, error) {
	img, err := s.engine.Images().Get(r.Context(), name)
	if err != nil {
		return image.Image{}, err
	}
	for _, p := range r.URL.Query()["platform"] {
		wanted, err := parsePlatform(p)
		if err != nil {
			return image.Image{}, err
		}
		if !platforms.NewMatcher(wanted).Match(img.Config.Platform) {
			return image.Image{}, notFound(fmt.Sprintf("image %s is here for the platform %s, not for %s; pull it for that one",
				name, platforms.Format(img.Config.Platform), platforms.Format(wanted)))
		}
	}
	return img, nil
}

// parsePlatform reads a platform in the JSON form of the API since 1.48, or as
// "linux/arm64".
func parsePlatform(s string) (ocispec.Platform, error) {
	var p ocispec.Platform
	if len(s) > 0 && s[0] == '{' {
		if err := json.Unmarshal([]byte(s), &p); err != nil {
			return p, invalid("invalid platform: " + err.Error())
		}
		return platforms.Normalize(p), nil
	}
	p, err := platforms.Parse(s)
	if err != nil {
		return p, invalid(fmt.Sprintf("invalid platform %q: %v", s, err))
	}
	return p, nil
}
