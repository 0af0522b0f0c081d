package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/cli/copy"
)

// containerPlace looks at a destination in a container; a link is followed.
func containerPlace(ctx context.Context, c *client.Client, name, to string) (copy.Place, error) {
	p := copy.Place{Path: to}
	for range 40 { // as many links as the kernel follows
		r, err := c.ContainerStatPath(ctx, name, client.ContainerStatPathOptions{Path: p.Path})
		if errdefs.IsNotFound(err) {
			// A missing container is told as such when it is written to.
			return copy.Place{Path: p.Path}, nil
		}
		if err != nil {
			return p, err
		}
		if r.Stat.Mode&fs.ModeSymlink == 0 {
			if r.Stat.Mode&fs.ModeDevice != 0 {
				return p, fmt.Errorf("invalid output path: %s:%s is a device", name, to)
			}
			p.Exists, p.IsDir = true, r.Stat.Mode.IsDir()
			return p, nil
		}
		p.Path = linkTarget(p.Path, r.Stat.LinkTarget)
	}
	return p, fmt.Errorf("too many levels of symbolic links at %s:%s", name, to)
}

// absolute makes a path in a container start at its root, and keeps an end
// that asks for a directory or its content.
func absolute(p string) string {
	clean := path.Clean("/" + p)
	switch {
	case strings.HasSuffix(p, "/.") || p == ".":
		return strings.TrimSuffix(clean, "/") + "/."
	case strings.HasSuffix(p, "/") && clean != "/":
		return clean + "/"
	}
	return clean
}

func linkTarget(link, target string) string {
	if path.IsAbs(target) {
		return target
	}
	return path.Join(path.Dir(path.Clean(link)), target)
}

// noPath names the file that is missing; a HEAD request tells nothing.
func noPath(err error, name, file string) error {
	if errdefs.IsNotFound(err) && !noContainer(err) {
		return fmt.Errorf("no such container or file: %s:%s", name, file)
	}
	return err
}

func noContainer(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "no such container:")
}

func (a *app) copied(o copyFlags, n int64, to string) {
	if !o.quiet {
		fmt.Fprintln(a.err, "Successfully copied", units.HumanSizeWithPrecision(float64(n), 3), "to", to)
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
