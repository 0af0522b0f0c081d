package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
)

// filesStage starts a stage in the container's mount and user namespaces, which
// exist until it is deleted. stop ends and reaps it.
func (r *Runtime) filesStage(ctx context.Context, id string, cfg filesConfig, fds ...int) (*control, func(), error) {
	c, err := r.get(id)
	if err != nil {
		return nil, nil, err
	}
	var cu cleanup.Stack
	defer cu.Clean()
	sp, err := c.files(&cu)
	if err != nil {
		return nil, nil, err
	}
	pid, ctl, err := r.spawner.start(sp)
	if err != nil {
		return nil, nil, err
	}
	owned.add(pid)
	cancelled := context.AfterFunc(ctx, func() { ctl.Close(); unix.Kill(pid, unix.SIGKILL) })
	stop := func() {
		if cancelled() { // else it was killed already
			unix.Kill(pid, unix.SIGKILL)
		}
		ctl.Close()
		reap(pid)
		owned.remove(pid)
	}
	if err := ctl.send(cfg, fds...); err != nil {
		stop()
		return nil, nil, err
	}
	return ctl, stop, nil
}

// files duplicates the descriptors of the namespaces, so that a delete at the
// same time takes nothing away.
func (c *container) files(cu *cleanup.Stack) (spawn, error) {
	c.op.Lock()
	defer c.op.Unlock()
	if c.gone || c.mntNS == nil {
		return spawn{}, errorf(agent.ClassNoContainer, "%w: %s", errNoContainer, c.id)
	}
	sp := spawn{stage: stageFiles}
	for _, ns := range []struct {
		f    *os.File
		flag int
	}{{c.mntNS, unix.CLONE_NEWNS}, {c.userNS, unix.CLONE_NEWUSER}} {
		if ns.f == nil {
			continue
		}
		fd, err := unix.FcntlInt(ns.f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return spawn{}, err
		}
		cu.Add(func() { unix.Close(fd) })
		sp.joins = append(sp.joins, join{fd, ns.flag})
		sp.setIDs = sp.setIDs || ns.flag == unix.CLONE_NEWUSER
	}
	return sp, nil
}

// answer reads one reply of a files stage.
func filesAnswer(ctx context.Context, ctl *control) (stageReply, error) {
	var reply stageReply
	fds, err := ctl.receive(&reply)
	closeAll(fds)
	switch {
	case ctx.Err() != nil:
		return reply, ctx.Err()
	case err != nil:
		return reply, fmt.Errorf("the process that reads the container's files has ended: %w", err)
	case reply.Error != nil:
		return reply, reply.Error
	}
	return reply, nil
}

// Stat describes a file of a container.
func (r *Runtime) Stat(ctx context.Context, req *agent.PathRequest) (st agent.FileStat, err error) {
	ctl, stop, err := r.filesStage(ctx, req.ID, filesConfig{Stat: req})
	if err != nil {
		return st, err
	}
	defer stop()
	reply, err := filesAnswer(ctx, ctl)
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(reply.Result, &st)
}

// Archive writes a file or tree as tar to w. begun is called when the path was
// found; it answers the call. An archive that is cut short lacks its end.
func (r *Runtime) Archive(ctx context.Context, req *agent.PathRequest, begun func() error, w io.Writer) error {
	out, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer out.Close()
	ctl, stop, err := r.filesStage(ctx, req.ID, filesConfig{Archive: req}, int(rawFD(theirs)))
	theirs.Close()
	if err != nil {
		return err
	}
	defer stop()
	if _, err := filesAnswer(ctx, ctl); err != nil {
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{out}, make([]byte, 64<<10)); err != nil {
		return err
	}
	_, err = filesAnswer(ctx, ctl)
	return err
}

// Extract unpacks a tar stream from tr. begun is called when the directory was
// found; it answers the call. tr is read to its end, whatever comes after the archive's.
func (r *Runtime) Extract(ctx context.Context, req *agent.ExtractRequest, begun func() error, tr io.Reader) error {
	theirs, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer in.Close()
	ctl, stop, err := r.filesStage(ctx, req.ID, filesConfig{Extract: req}, int(rawFD(theirs)))
	theirs.Close()
	if err != nil {
		return err
	}
	defer stop()
	if _, err := filesAnswer(ctx, ctl); err != nil {
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	_, cerr := io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{tr}, make([]byte, 64<<10))
	in.Close()
	if errors.Is(cerr, unix.EPIPE) { // the stage has read the archive's end, or has failed
		_, cerr = io.Copy(io.Discard, tr)
	}
	_, err = filesAnswer(ctx, ctl)
	return errors.Join(err, cerr)
}
