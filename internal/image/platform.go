package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A wish is the platform that is asked for.
type wish struct {
	spec     ocispec.Platform
	match    platforms.MatchComparer
	explicit bool
}

// parsePlatform reads a platform such as linux/arm64; "" is the host's, or one
// that the host runs too (as an amd64 host runs 386).
func parsePlatform(s string) (wish, error) {
	if s == "" {
		spec := platforms.DefaultSpec()
		return wish{spec: spec, match: platforms.Only(spec)}, nil
	}
	spec, err := platforms.Parse(s)
	if err != nil {
		return wish{}, fmt.Errorf("%q is not a platform; write it like linux/amd64: %w: %w", clean(s), err, errdefs.ErrInvalidArgument)
	}
	if spec.OS != "linux" {
		return wish{}, fmt.Errorf("only linux images can run here, not %s: %w", clean(spec.OS), errdefs.ErrInvalidArgument)
	}
	spec = platforms.Normalize(spec)
	return wish{spec: spec, match: platforms.OnlyStrict(spec), explicit: true}, nil
}

// choose returns the manifests of an index that suit, best first. Those that
// do not say their platform come last.
func (w wish) choose(manifests []ocispec.Descriptor) []ocispec.Descriptor {
	var fit, unknown []ocispec.Descriptor
	for _, m := range manifests {
		switch {
		case m.Platform == nil:
			unknown = append(unknown, m)
		case w.match.Match(*m.Platform):
			fit = append(fit, m)
		}
	}
	slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case w.match.Less(*a.Platform, *b.Platform):
			return -1
		case w.match.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return append(fit, unknown...)
}

// fits says whether an image with that config suits. One that does not say its
// platform does.
func (w wish) fits(c ImageConfig) bool {
	return c.Architecture == "" || w.match.Match(c.Platform)
}

// refuse is the error for an image that only has the given platforms.
func (w wish) refuse(has ...ocispec.Platform) error {
	var names []string
	for _, p := range has {
		if p.OS != "unknown" && p.OS != "" { // attestations
			names = append(names, clean(platforms.Format(platforms.Normalize(p))))
		}
	}
	names = unique(names)
	hint := ""
	if !w.explicit && len(names) > 0 {
		hint = "; --platform chooses one of these"
	}
	if len(names) == 0 {
		names = []string{"no platform at all"}
	}
	if len(names) > 20 {
		names = append(names[:20], "others")
	}
	return fmt.Errorf("the image does not exist for %s, but for %s%s: %w",
		platforms.Format(w.spec), strings.Join(names, ", "), hint, errdefs.ErrNotFound)
}

// platformsOf lists the platforms of an index.
func platformsOf(manifests []ocispec.Descriptor) []ocispec.Platform {
	var has []ocispec.Platform
	for _, m := range manifests {
		if m.Platform != nil {
			has = append(has, *m.Platform)
		}
	}
	return has
}
