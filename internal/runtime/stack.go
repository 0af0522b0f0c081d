package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
)

// A stack is what a container stands on before its mounts: a directory of the
// agent's, a user namespace whose users are mapped, and in that the root file
// system. A blank may have it ahead.
type stack struct {
	dir        string
	uids, gids []specs.LinuxIDMapping
	userNS     *os.File
	of         agent.Rootfs
	fs         *rootfs // nil: none, or the container's by now
}

// restack gives a blank the root file system of req, or takes it away. The
// mapping of its users stays, because it can be written once.
func (r *Runtime) restack(b *blank, req *agent.PrepareRequest) (err error) {
	if b.stack != nil && b.stack.fs != nil {
		b.stack.unmount()
	}
	if len(req.Rootfs.Layers) == 0 {
		return nil
	}
	linux := &specs.Linux{UIDMappings: req.UIDMappings, GIDMappings: req.GIDMappings}
	if b.stack == nil {
		if b.stack, err = r.newStack(b, linux); err != nil {
			return err
		}
	} else if !b.suits(linux) {
		return errorf(agent.ClassConflict, "it has other users")
	}
	return r.mount(b.stack, req.Rootfs)
}

// newStack maps the users of b.
func (r *Runtime) newStack(b *blank, linux *specs.Linux) (*stack, error) {
	s := &stack{dir: filepath.Join(r.cfg.Dir, "containers", b.name), uids: linux.UIDMappings, gids: linux.GIDMappings}
	if err := writeMaps(b.pid, linux); err != nil {
		return nil, err
	}
	var err error
	if s.userNS, err = os.Open(procPath(b.pid, "ns/user")); err != nil {
		return nil, fmt.Errorf("cannot open the user namespace: %w", err)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		s.userNS.Close()
		return nil, fmt.Errorf("cannot make the container's directory: %w", err)
	}
	return s, nil
}

func (r *Runtime) mount(s *stack, of agent.Rootfs) (err error) {
	s.of = of
	s.fs, err = r.mountRootfs(s.dir, of, int(s.userNS.Fd()), mapID(s.uids, 0), mapID(s.gids, 0))
	return err
}

// suits says whether a container with such users can have the blank.
func (b *blank) suits(linux *specs.Linux) bool {
	return b.stack == nil || slices.Equal(b.stack.uids, linux.UIDMappings) && slices.Equal(b.stack.gids, linux.GIDMappings)
}

// is says whether the stack's root file system is what a container wants. That
// it is to see it read-only is told to its first process.
func (s *stack) is(want agent.Rootfs) bool {
	want.ReadOnly = s.of.ReadOnly
	return s.fs != nil && reflect.DeepEqual(s.of, want)
}

func (s *stack) unmount() {
	s.fs.close()
	s.fs = nil
}

func (s *stack) close() {
	if s.fs != nil {
		s.unmount()
	}
	s.userNS.Close()
	os.Remove(s.dir)
}
