package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/copy"
	"github.com/abode-run/abode/internal/cli/stream"
)

// copyFlags are the flags of cp.
type copyFlags struct{ archive, follow, quiet bool }

func newCp(a *app) *cobra.Command {
	var o copyFlags
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SOURCE DESTINATION|-\n  abode cp [OPTIONS] SOURCE|- CONTAINER:DESTINATION",
		Short: "Copy files between a container and the host",
		Long: `Copy files between a container, running or not, and the host. A directory is
copied whole; SOURCE/. stands for its content. '-' stands for a tar stream
on stdin or stdout.`,
		Example: `  abode cp web:/etc/nginx/nginx.conf .
  abode cp ./site/. web:/usr/share/nginx/html
  abode cp web:/var/log - | tar -t`,
		Args: exactly(2),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.archive, "archive", "a", false, "keep owners (and set-user-ID bits)")
	f.BoolVarP(&o.follow, "follow-link", "L", false, "copy what SOURCE links to, not the link")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing when it went well")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		fromName, from := copy.Split(args[0])
		toName, to := copy.Split(args[1])
		switch {
		case fromName != "" && toName != "":
			return errors.New("copying between containers is not supported; go by a directory here, or pipe: abode cp A:PATH - | abode cp - B:PATH")
		case fromName != "":
			return a.copyOut(ctx, c, fromName, from, to, o)
		case toName != "":
			return a.copyIn(ctx, c, from, toName, to, o)
		}
		return errors.New("must specify at least one container: CONTAINER:PATH")
	})
	return cmd
}

// copyOut copies from a container to the host.
func (a *app) copyOut(ctx context.Context, c *client.Client, name, from, to string, o copyFlags) error {
	if from == "" {
		return fmt.Errorf("the path in container %s is missing; use %[1]s:/ for its root", name)
	}
	if to == "-" && stream.IsTerminal(a.out) {
		return errors.New("cowardly refusing to copy to a terminal; redirect stdout, or name a file")
	}
	source := absolute(from)
	if o.follow {
		st, err := c.ContainerStatPath(ctx, name, client.ContainerStatPathOptions{Path: source})
		if err != nil {
			return noPath(err, name, from)
		}
		if st.Stat.Mode&fs.ModeSymlink != 0 {
			source = linkTarget(source, st.Stat.LinkTarget)
		}
	}
	r, err := c.CopyFromContainer(ctx, name, client.CopyFromContainerOptions{SourcePath: source})
	if err != nil {
		return noPath(err, name, from)
	}
	defer r.Content.Close()
	if to == "-" {
		_, err := io.Copy(a.out, r.Content)
		return err
	}
	place, err := hostPlace(to)
	if err != nil {
		return err
	}
	target, err := copy.Target(from, r.Stat.Mode.IsDir(), place)
	if err != nil {
		return err
	}
	n := &counter{r: r.Content}
	err = copy.Unpack(n, target, copy.Options{Archive: o.archive, Skipped: func(name string) {
		fmt.Fprintf(a.err, "WARNING: the device %s is not copied\n", name)
	}})
	if err != nil {
		return err
	}
	a.copied(o, n.n, to)
	return nil
}

// hostPlace looks at a destination on the host; links are followed.
func hostPlace(to string) (copy.Place, error) {
	p := copy.Place{Path: to}
	st, err := os.Stat(to)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(filepath.Clean(to))); err != nil {
			return p, fmt.Errorf("invalid output path: directory %q does not exist", filepath.Dir(filepath.Clean(to)))
		}
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if st.Mode()&(fs.ModeDevice|fs.ModeIrregular) != 0 {
		return p, fmt.Errorf("invalid output path: %s is a device", to)
	}
	real, err := filepath.EvalSymlinks(to)
	if err != nil {
		return p, err
	}
	if copy.AssertsDir(to) {
		real += "/"
	}
	return copy.Place{Path: real, Exists: true, IsDir: st.IsDir()}, nil
}

// copyIn copies from the host, or from a tar stream on stdin.
func (a *app) copyIn(ctx context.Context, c *client.Client, from, name, to string, o copyFlags) error {
	if to == "" {
		return fmt.Errorf("the path in container %s is missing; use %[1]s:/ for its root", name)
	}
	place, err := containerPlace(ctx, c, name, absolute(to))
	if err != nil {
		return noPath(err, name, to)
	}
	if from == "-" {
		if place.Exists && !place.IsDir {
			return fmt.Errorf("destination \"%s:%s\" must be a directory", name, to)
		}
		return a.put(ctx, c, name, place.Path, a.in, o)
	}
	source := filepath.Clean(from)
	if o.follow || copy.AssertsDir(from) {
		if source, err = filepath.EvalSymlinks(from); err != nil {
			return err
		}
	}
	st, err := os.Lstat(source)
	if err != nil {
		return err
	}
	named := from
	if abs, err := filepath.Abs(from); err == nil && !copy.ContentOnly(from) {
		named = abs // so that ".." has a name
	}
	target, err := copy.Target(named, st.IsDir(), place)
	if err != nil {
		return err
	}
	dir, base := path.Dir(target), path.Base(target)
	if target == path.Clean(place.Path) && place.IsDir { // the content alone
		dir, base = target, "."
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(copy.Pack(w, source, base)) }()
	n := &counter{r: r}
	if err := a.put(ctx, c, name, dir, n, o); err != nil {
		return err
	}
	a.copied(o, n.n, name+":"+to)
	return nil
}

func (a *app) put(ctx context.Context, c *client.Client, name, dir string, r io.Reader, o copyFlags) error {
	_, err := c.CopyToContainer(ctx, name, client.CopyToContainerOptions{DestinationPath: dir, Content: r, CopyUIDGID: o.archive})
	if err != nil && errdefs.IsNotFound(err) && !noContainer(err) {
		return fmt.Errorf("cannot copy to %s:%s: %w; create the directory first", name, dir, err)
	}
	return err
}
