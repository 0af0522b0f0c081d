package share

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/share/fs"
	"github.com/abode-run/abode/internal/share/wire"
)

const (
	// maxRequests bounds how many requests of a mount are under way at once.
	maxRequests = 64
	// maxMounts bounds how many streams are served at once, for each share.
	maxMounts = 8
	// greeting is how long a stream may take to say what it wants.
	greeting = 30 * time.Second
	// memory is what the process tries to stay below, in bytes.
	memory = 128 << 20
)

// serve answers the guest on conn until it is closed.
func serve(conn net.Conn, j *jail) error {
	debug.SetMemoryLimit(memory)
	defer func() { _ = conn.Close() }()
	session, err := agent.Connect(context.Background(), conn, wire.Patience)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil // the guest ended before it mounted anything
		}
		return err
	}
	defer func() { _ = session.Close() }()
	mounts := make(chan struct{}, maxMounts*len(j.roots))
	maxOpen := j.files / 2 / len(j.roots)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		stream, err := session.Accept()
		if err != nil {
			return nil // the session's end is the guest's
		}
		select {
		case mounts <- struct{}{}:
		default:
			_ = stream.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-mounts }()
			defer func() { _ = stream.Close() }()
			_ = j.mount(stream, maxOpen) // its end is the guest's affair
		})
	}
}

// mount serves one stream.
func (j *jail) mount(stream net.Conn, maxOpen int) error {
	_ = stream.SetDeadline(time.Now().Add(greeting))
	var req wire.MountRequest
	if err := wire.Receive(stream, &req); err != nil {
		return err
	}
	root, ok := j.roots[req.Tag]
	if !ok {
		return wire.Send(stream, wire.MountResponse{Error: "there is no such share"})
	}
	fd, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return wire.Send(stream, wire.MountResponse{Error: err.Error()})
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return wire.Send(stream, wire.MountResponse{Error: err.Error()})
	}
	files, err := fs.New(fd, fs.Options{Self: j.self, MaxOpen: maxOpen})
	if err != nil {
		return wire.Send(stream, wire.MountResponse{Error: err.Error()})
	}
	defer files.Close()
	if err := wire.Send(stream, wire.MountResponse{Mode: st.Mode & unix.S_IFMT}); err != nil {
		return err
	}
	_ = stream.SetDeadline(time.Time{})
	return newMount(stream, files).run()
}

var errRequest = errors.New("cannot go on: the guest does not speak FUSE")

// mount answers the requests of one FUSE mount.
type mount struct {
	stream net.Conn
	files  *fs.FS
	slots  chan struct{}

	mu sync.Mutex // of writing to the stream
}

func newMount(stream net.Conn, files *fs.FS) *mount {
	return &mount{stream: stream, files: files, slots: make(chan struct{}, maxRequests)}
}

var buffers = sync.Pool{New: func() any { return new(wire.Buffer) }}

// run reads requests until the stream ends, and returns when all are answered.
func (m *mount) run() error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for begun := false; ; begun = true {
		buf := buffers.Get().(*wire.Buffer)
		msg, err := wire.Read(m.stream, buf)
		if err != nil {
			return err
		}
		if fs.IsInit(msg) == begun { // first of all, and only then
			return errRequest
		}
		if !begun || fs.IsForget(msg) {
			if err := m.answer(msg); err != nil {
				return err
			}
			buffers.Put(buf)
			continue
		}
		m.slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-m.slots }()
			if err := m.answer(msg); err != nil {
				_ = m.stream.Close()
			}
			buffers.Put(buf)
		})
	}
}

// answer carries out one request.
func (m *mount) answer(msg []byte) error {
	out := buffers.Get().(*wire.Buffer)
	defer buffers.Put(out)
	n, ok := m.files.Handle(msg, out.Body())
	if !ok {
		return errRequest
	}
	if n == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.stream.Write(out.Frame(n))
	return err
}
