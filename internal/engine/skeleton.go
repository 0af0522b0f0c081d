package engine

import (
	"context"
	"errors"
	"io"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"

	"github.com/abode-run/abode/internal/engine/events"
	"github.com/abode-run/abode/internal/image"
	"github.com/abode-run/abode/internal/kernel/vm/kernels"
	"github.com/abode-run/abode/internal/volume"
)

var errSkeleton = errors.New("not yet")

type Engine struct{}
type Streams struct{ TTY bool }
type Info struct{}

func Open(ctx context.Context, cfg Config) (*Engine, error) { return nil, errSkeleton }
func (e *Engine) Close(ctx context.Context) error           { return errSkeleton }
func (e *Engine) Create(ctx context.Context, name string, cfg *container.Config, host *container.HostConfig, net *network.NetworkingConfig, platform string) (id string, warnings []string, err error) {
	return "", nil, errSkeleton
}
func (e *Engine) Start(ctx context.Context, name string) error { return errSkeleton }
func (e *Engine) Stop(ctx context.Context, name, signal string, timeout *int) error {
	return errSkeleton
}
func (e *Engine) Restart(ctx context.Context, name, signal string, timeout *int) error {
	return errSkeleton
}
func (e *Engine) Kill(ctx context.Context, name, signal string) error { return errSkeleton }
func (e *Engine) Pause(ctx context.Context, name string) error        { return errSkeleton }
func (e *Engine) Unpause(ctx context.Context, name string) error      { return errSkeleton }
func (e *Engine) Remove(ctx context.Context, name string, opts RemoveOptions) error {
	return errSkeleton
}
func (e *Engine) Rename(ctx context.Context, name, newName string) error { return errSkeleton }
func (e *Engine) Inspect(ctx context.Context, name string, size bool) (container.InspectResponse, error) {
	return container.InspectResponse{}, errSkeleton
}
func (e *Engine) List(ctx context.Context, opts ListOptions) ([]container.Summary, error) {
	return nil, errSkeleton
}
func (e *Engine) Wait(ctx context.Context, name string, cond container.WaitCondition) (<-chan container.WaitResponse, error) {
	return nil, errSkeleton
}
func (e *Engine) Attach(ctx context.Context, name string, opts AttachOptions) (*Streams, error) {
	return nil, errSkeleton
}
func (s *Streams) Serve(ctx context.Context, conn io.ReadWriteCloser, framed bool) error {
	return errSkeleton
}
func (s *Streams) Close() error { return nil }
func (e *Engine) Logs(ctx context.Context, name string, opts LogsOptions, emit func(stream byte, p []byte) error) error {
	return errSkeleton
}
func (e *Engine) Resize(ctx context.Context, name string, w, h uint) error { return errSkeleton }
func (e *Engine) Top(ctx context.Context, name, psArgs string) (container.TopResponse, error) {
	return container.TopResponse{}, errSkeleton
}
func (e *Engine) Stats(ctx context.Context, name string) (container.StatsResponse, error) {
	return container.StatsResponse{}, errSkeleton
}
func (e *Engine) Changes(ctx context.Context, name string) ([]container.FilesystemChange, error) {
	return nil, errSkeleton
}
func (e *Engine) StatPath(ctx context.Context, name, path string) (container.PathStat, error) {
	return container.PathStat{}, errSkeleton
}
func (e *Engine) Archive(ctx context.Context, name, path string) (io.ReadCloser, container.PathStat, error) {
	return nil, container.PathStat{}, errSkeleton
}
func (e *Engine) Extract(ctx context.Context, name, path string, opts ExtractOptions, r io.Reader) error {
	return errSkeleton
}
func (e *Engine) Export(ctx context.Context, name string) (io.ReadCloser, error) {
	return nil, errSkeleton
}
func (e *Engine) Update(ctx context.Context, name string, cfg container.UpdateConfig) ([]string, error) {
	return nil, errSkeleton
}
func (e *Engine) ContainersPrune(ctx context.Context, filters map[string]map[string]bool) (container.PruneReport, error) {
	return container.PruneReport{}, errSkeleton
}
func (e *Engine) ExecCreate(ctx context.Context, name string, cfg container.ExecCreateRequest) (id string, err error) {
	return "", errSkeleton
}
func (e *Engine) ExecStart(ctx context.Context, execID string, detach, tty bool, size *[2]uint) (*Streams, error) {
	return nil, errSkeleton
}
func (e *Engine) ExecResize(ctx context.Context, execID string, w, h uint) error { return errSkeleton }
func (e *Engine) ExecInspect(ctx context.Context, execID string) (container.ExecInspectResponse, error) {
	return container.ExecInspectResponse{}, errSkeleton
}
func (e *Engine) Images() *image.Store    { return nil }
func (e *Engine) Volumes() *volume.Store  { return nil }
func (e *Engine) Events() *events.Broker  { return nil }
func (e *Engine) Kernels() *kernels.Store { return nil }
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]image.Removed, error) {
	return nil, errSkeleton
}
func (e *Engine) PruneImages(ctx context.Context, all bool) ([]image.Removed, int64, error) {
	return nil, 0, errSkeleton
}
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error { return errSkeleton }
func (e *Engine) Info(ctx context.Context) (system.Info, error)                   { return system.Info{}, errSkeleton }
func (e *Engine) AbodeInfo(ctx context.Context) (Info, error)                     { return Info{}, errSkeleton }
