package runtime

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// execChild is a child that stands in a container and waits to become another
// process of it. It executes nothing before that, so that no program has to
// start twice.
type execChild struct {
	sync *os.File
	work *workload
}

// exec makes a child that becomes w once it is told. The child has looked up
// the users of the container, and user says who of them it is.
func (s *spawner) exec(ctx context.Context, sp spawn, w *workload, user func(passwd, group []byte) (identity, error)) (int, *execChild, error) {
	c := &child{work: w, pause: sp.settle != nil, users: [2]uintptr{w.address([]byte(passwdFile + "\x00")), w.address([]byte(groupFile + "\x00"))}}
	for i, fd := range w.streams {
		if fd < 0 {
			w.streams[i] = int(s.null.Fd())
		}
	}
	l, err := lay(sp, c)
	if err != nil {
		return 0, nil, err
	}
	var failed error
	cloned := make(chan struct{})
	s.begin(func(t *forker) {
		defer close(cloned)
		failed = t.among(l.pids, func() error {
			if errno := vfork(c); errno != 0 {
				return fmt.Errorf("cannot clone a process: %w", errno)
			}
			return nil
		})
		unix.Close(l.theirs) // so that the child's end is heard
		l.files.Clean()
	})
	word := func() error {
		step, value, err := readWord(l.sync)
		if err == nil {
			return stepError(step, value)
		}
		<-cloned
		return cmp.Or(failed, fmt.Errorf("the process ended while it entered the container: %w", err))
	}
	err = word()
	pid := int(c.pid)
	if pid == 0 { // it was not cloned
		l.sync.Close()
		return 0, nil, err
	}
	stop := context.AfterFunc(ctx, func() { unix.Kill(pid, unix.SIGKILL) })
	if err == nil && c.pause {
		if err = sp.settle(pid); err == nil {
			_, _ = l.sync.Write([]byte{1}) // else the next word tells
			err = word()
		}
	}
	if err == nil {
		err = identify(l.sync, w, user)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.sync.Close()
		end(pid)
		return 0, nil, err
	}
	return pid, &execChild{l.sync, w}, nil
}

// identify reads the container's users from the child and decides who it is.
func identify(sync *os.File, w *workload, user func(passwd, group []byte) (identity, error)) error {
	passwd, err := readChunks(sync, passwdFile)
	if err != nil {
		return err
	}
	group, err := readChunks(sync, groupFile)
	if err != nil {
		return err
	}
	who, err := user(passwd, group)
	if err != nil {
		return err
	}
	return w.id.identify(who)
}

// readChunks reads a file that a child sends.
func readChunks(r io.Reader, name string) ([]byte, error) {
	var all []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("the process ended while it read %s: %w", name, err)
		}
		n := int64(binary.NativeEndian.Uint64(head[:]))
		switch {
		case n == 0:
			return all, nil
		case n < 0:
			return nil, fmt.Errorf("cannot read %s: %w", name, syscall.Errno(-n))
		case int64(len(all))+n > maxDatabase:
			return nil, errorf(agent.ClassInvalid, "the image's %s is larger than %d bytes", name, maxDatabase)
		}
		begin := len(all)
		all = slices.Grow(all, int(n))[:begin+int(n)]
		if _, err := io.ReadFull(r, all[begin:]); err != nil {
			return nil, fmt.Errorf("the process ended while it read %s: %w", name, err)
		}
	}
}

// start lets the child become the workload. The child's end of the socket
// closes with a successful execve, and when it was killed before.
func (e *execChild) start() error {
	if _, err := e.sync.Write(e.work.id.bytes()); err != nil {
		return errorf(agent.ClassConflict, "the process has ended before it was started")
	}
	step, value, err := readWord(e.sync)
	switch {
	case err == io.EOF || errors.Is(err, unix.ECONNRESET):
		return nil
	case err != nil:
		return fmt.Errorf("cannot hear of the process's start: %w", err)
	case step < stepTerminal:
		return stepError(step, value)
	}
	return e.work.failure(step, syscall.Errno(value))
}

func (e *execChild) close() { e.sync.Close() }
