package engine

import (
	"context"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"

	"github.com/abode-run/abode/internal/image"
)

// here is the one platform whose images run on this machine.
const here = "linux/" + runtime.GOARCH

// runnableImage finds the image of a new container; want is the platform that
// was asked for, or empty. It is not found only where a pull can help: that is
// what clients then do.
func (e *Engine) runnableImage(ctx context.Context, name, want string) (image.Image, error) {
	img, err := e.images.Get(ctx, name)
	if err != nil && !errdefs.IsNotFound(err) {
		return img, err
	}
	have := ""
	if err == nil {
		have = platformOf(img.Config.OS, img.Config.Architecture)
	}
	return img, checkPlatform(name, have, want)
}

// checkPlatform refuses what is not of the platform that was asked for, or does
// not run here. have is the platform of the image that there is, or empty.
func checkPlatform(name, have, want string) error {
	if want != "" {
		p, err := platforms.Parse(want)
		if err != nil {
			return invalid("invalid platform %q: %s", want, err)
		}
		switch asked := platformOf(p.OS, p.Architecture); {
		case asked != here && have == here:
			return invalid("cannot run image %s for %s: this machine runs %s alone, and the local image is for that; leave --platform out", name, want, here)
		case asked != here:
			return invalid("cannot run image %s for %s: this machine runs %s alone; name that with --platform", name, want, here)
		case have != "" && have != here:
			return notFound("image with reference %s was found but its platform (%s) does not match the specified platform (%s); pull it with --platform %[3]s", name, have, want)
		}
	}
	switch have {
	case "":
		return notFound("No such image: %s", name)
	case here:
		return nil
	}
	return invalid("image %s is for %s and this machine runs %s: pull it with --platform %[3]s", name, have, here)
}

// platformOf names a platform. An image that does not tell its own is taken
// for one of this machine's.
func platformOf(os, architecture string) string {
	if os == "" {
		os = "linux"
	}
	if architecture == "" {
		architecture = runtime.GOARCH
	}
	return os + "/" + architecture
}
