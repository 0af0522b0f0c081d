package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
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
	// The library reports odd requests on the standard logger; a guest must
	// not be able to fill a log.
	log.SetOutput(io.Discard)
	debug.SetMemoryLimit(memory)
	defer func() { _ = conn.Close() }()
	session, err := agent.Connect(context.Background(), conn)
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
	server *fuse.ProtocolServer
	slots  chan struct{}

	mu sync.Mutex // of writing to the stream
}

func newMount(stream net.Conn, files *fs.FS) *mount {
	return &mount{
		stream: stream,
		server: fuse.NewProtocolServer(files, &fuse.MountOptions{
			MaxWrite:      wire.MaxWrite,
			MaxBackground: maxRequests / 2,
			// Entries are not cached, so that their attributes would be of no use.
			DisableReadDirPlus:   true,
			DisabledCapabilities: fuse.CAP_PASSTHROUGH,
			// The guest tells when a write takes set-user-ID away, instead of
			// asking for a file's capabilities before each.
			ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC,
			Logger:            log.New(io.Discard, "", 0),
			PanicHandler:      func(any) fuse.Status { return fuse.EIO },
		}),
		slots: make(chan struct{}, maxRequests),
	}
}

var buffers = sync.Pool{New: func() any { return new(wire.Buffer) }}

// run reads requests until the stream ends, and returns when all are answered.
func (m *mount) run() error {
	var wg sync.WaitGroup
	defer wg.Wait()
	begun := false
	for {
		buf := buffers.Get().(*wire.Buffer)
		msg, err := wire.Read(m.stream, buf)
		if err != nil {
			return err
		}
		h, ok := parseHeader(msg)
		if !ok {
			return errRequest
		}
		switch {
		case !begun:
			// The library keeps what INIT says without a lock.
			if h.opcode != opInit {
				return errRequest
			}
			begun = true
			if err := m.handle(h, msg); err != nil {
				return err
			}
			buffers.Put(buf)
			continue
		case h.opcode == opInit:
			return errRequest
		case h.opcode == opForget || h.opcode == opBatchForget:
			if err := m.handle(h, msg); err != nil {
				return err
			}
			buffers.Put(buf)
			continue
		}
		m.slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-m.slots }()
			if err := m.handle(h, msg); err != nil {
				_ = m.stream.Close()
			}
			buffers.Put(buf)
		})
	}
}

// handle answers one request.
func (m *mount) handle(h header, msg []byte) error {
	out := buffers.Get().(*wire.Buffer)
	defer buffers.Put(out)
	n, err := m.answer(h, msg, out.Body())
	if err != nil || n == 0 {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err = m.stream.Write(out.Frame(n))
	return err
}

func (m *mount) answer(h header, msg, out []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The library trusts the kernel that it usually talks to.
			n, err = h.fail(out, unix.EIO), nil
		}
	}()
	if !allowed(h.opcode) {
		return h.fail(out, unix.ENOSYS), nil
	}
	if h.node == reservedNode {
		return h.fail(out, unix.ESTALE), nil
	}
	n, code := m.server.HandleRequest([][]byte{msg}, [][]byte{out})
	if code != fuse.OK {
		return h.fail(out, unix.EIO), nil
	}
	if n > len(out) {
		return 0, fmt.Errorf("%w: an answer of %d bytes", errRequest, n)
	}
	return n, nil
}
