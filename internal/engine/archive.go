package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/image"
)

// StatPath describes a file of a container, a symbolic link as itself.
func (e *Engine) StatPath(ctx context.Context, name, path string) (container.PathStat, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return container.PathStat{}, err
	}
	client, back, err := c.borrow(ctx)
	if err != nil {
		return container.PathStat{}, err
	}
	defer back()
	return c.stat(ctx, client, path)
}

func (c *Container) stat(ctx context.Context, client *agent.Client, path string) (container.PathStat, error) {
	var st agent.FileStat
	if err := client.Call(ctx, agent.MethodStat, agent.PathRequest{ID: c.id, Path: path}, &st); err != nil {
		return container.PathStat{}, c.pathError(err, path)
	}
	return container.PathStat{Name: st.Name, Size: st.Size, Mode: fs.FileMode(st.Mode), Mtime: st.ModTime, LinkTarget: st.LinkTarget}, nil
}

func (c *Container) pathError(err error, path string) error {
	if errors.Is(err, &agent.Error{Class: agent.ClassNoContainer}) {
		return notFound("Could not find the file %s in container %s", path, c.id)
	}
	return fromAgent(err)
}

// Archive returns a tar of a file or directory of a container. The reader must
// be closed.
func (e *Engine) Archive(ctx context.Context, name, path string) (io.ReadCloser, container.PathStat, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, container.PathStat{}, err
	}
	client, back, err := c.borrow(ctx)
	if err != nil {
		return nil, container.PathStat{}, err
	}
	st, err := c.stat(ctx, client, path)
	if err != nil {
		back()
		return nil, st, err
	}
	r, err := c.tar(ctx, client, agent.PathRequest{ID: c.id, Path: path}, back)
	if err != nil {
		return nil, st, err
	}
	c.event(events.ActionArchivePath, nil)
	return r, st, nil
}

// Export returns a tar of the container's whole file system. The reader must
// be closed.
func (e *Engine) Export(ctx context.Context, name string) (io.ReadCloser, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, err
	}
	client, back, err := c.borrow(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.tar(ctx, client, agent.PathRequest{ID: c.id, Path: "/"}, back)
	if err != nil {
		return nil, err
	}
	c.event(events.ActionExport, nil)
	return r, nil
}

// tar starts a tar stream. back is called when it is closed, or on error.
func (c *Container) tar(ctx context.Context, client *agent.Client, req agent.PathRequest, back func()) (io.ReadCloser, error) {
	r, err := c.stream(ctx, client, agent.MethodArchive, req, back)
	if err != nil {
		return nil, c.pathError(err, req.Path)
	}
	return r, nil
}

// stream is tar for any method that answers with one.
func (c *Container) stream(ctx context.Context, client *agent.Client, method string, req any, back func()) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	conn, err := client.Stream(ctx, method, req, nil)
	if err != nil {
		cancel()
		back()
		return nil, err
	}
	return &tarStream{Conn: conn, back: func() { cancel(); back() }}, nil
}

// tarStream is a stream of which a kernel may be borrowed.
type tarStream struct {
	net.Conn
	once sync.Once
	back func()
}

func (s *tarStream) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.back)
	return err
}

// Extract unpacks a tar, which may be compressed, into a directory of a
// container.
func (e *Engine) Extract(ctx context.Context, name, path string, opts ExtractOptions, r io.Reader) error {
	c, err := e.containers.find(name)
	if err != nil {
		return err
	}
	rec, _ := c.snapshot()
	if err := rec.writable(path); err != nil {
		return err
	}
	tar, err := image.Decompress(r)
	if err != nil {
		return invalid("%s", err)
	}
	defer tar.Close()
	client, back, err := c.borrow(ctx)
	if err != nil {
		return err
	}
	defer back()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := client.Stream(ctx, agent.MethodExtract, agent.ExtractRequest{
		ID: c.id, Path: path, NoOverwriteDirNonDir: opts.NoOverwriteDirNonDir, CopyUIDGID: opts.CopyUIDGID,
	}, nil)
	if err != nil {
		return c.pathError(err, path)
	}
	defer conn.Close()
	in := &noted{Reader: tar}
	_, cerr := io.Copy(conn, in)
	if cw, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	var answer agent.Response
	if err := agent.ReadFrame(conn, &answer); err != nil {
		return errors.Join(cerr, err)
	}
	if in.err != nil { // the agent knows only that there was no more
		return invalid("cannot read the archive: %v", in.err)
	}
	if answer.Error != nil { // it says more than the broken copy
		return c.pathError(answer.Error, path)
	}
	if cerr != nil {
		return cerr
	}
	c.event(events.ActionExtractToDir, nil)
	return nil
}

// noted remembers why there was nothing more to read.
type noted struct {
	io.Reader
	err error // nil: it was the end
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.Reader.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return k, err
}

// writable refuses what Docker refuses: a copy into a read-only root file
// system.
func (rec *record) writable(path string) error {
	if rec.Host.ReadonlyRootfs && !rec.inMount(path) {
		return errorf(errPermission, "container rootfs is marked read-only")
	}
	return nil
}

// Changes lists what differs from the image.
func (e *Engine) Changes(ctx context.Context, name string) ([]container.FilesystemChange, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, err
	}
	client, back, err := c.borrow(ctx)
	if err != nil {
		return nil, err
	}
	defer back()
	var diff agent.DiffResponse
	if err := client.Call(ctx, agent.MethodDiff, agent.IDRequest{ID: c.id}, &diff); err != nil {
		return nil, fromAgent(err)
	}
	list := make([]container.FilesystemChange, len(diff.Changes))
	for i, ch := range diff.Changes {
		list[i] = container.FilesystemChange{Path: ch.Path, Kind: container.ChangeType(ch.Kind)}
	}
	return list, nil
}
