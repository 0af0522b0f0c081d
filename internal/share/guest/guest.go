// Package guest is the guest's side of shares: it opens a stream for a mount
// and relays between the kernel's FUSE device and that stream.
//
// The kernel wants /dev/fuse to be opened in the user namespace that the mount
// is made in. For a container with its own, its init opens the device there,
// mounts with Options, and passes the descriptor to the agent, which calls
// Relay:
//
//	agent:  share, err := port.Open(ctx, tag)
//	init:   fd := open("/dev/fuse", O_RDWR|O_NONBLOCK|O_CLOEXEC)
//	        mount "fuse" with Options(fd, share.Mode), by fsconfig(2) or mount(2)
//	agent:  go Relay(fuse, share)
//
// The target must be a directory when the share's root is one, else a file.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/share/wire"
)

// Device is the kernel's FUSE device. The agent of a guest lets everybody open
// it (mode 0666), as udev does on hosts.
const Device = "/dev/fuse"

// Options are those of the mount of a share: fd is the open device's number in
// the process that mounts, mode the share's. Permissions are checked by the
// kernel that mounts, with the IDs of the container. mount(2) takes them
// joined by commas.
func Options(fd int, mode uint32) []string {
	return []string{
		fmt.Sprintf("fd=%d", fd), fmt.Sprintf("rootmode=%o", mode&unix.S_IFMT), "user_id=0", "group_id=0",
		"default_permissions", "allow_other", fmt.Sprintf("max_read=%d", wire.MaxWrite),
	}
}

// A Port is the guest's end of the channel to the host's share process. It is
// opened when it is first needed. It is safe for concurrent use.
type Port struct {
	open func() (io.ReadWriteCloser, error)

	mu      sync.Mutex
	session *yamux.Session
}

// NewPort returns a port that calls open, which opens the virtio-serial port,
// for every new session.
func NewPort(open func() (io.ReadWriteCloser, error)) *Port { return &Port{open: open} }

// A Share is a stream on which the host serves one mount.
type Share struct {
	net.Conn
	Mode uint32 // the type of its root: unix.S_IFDIR or unix.S_IFREG, or another that is no directory
}

// Open asks the host for the share with a tag. The caller closes what it gets,
// or gives it to Relay.
func (p *Port) Open(ctx context.Context, tag string) (*Share, error) {
	s, err := p.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the host's shares: %w", err)
	}
	stream, err := s.Open()
	if err != nil {
		return nil, fmt.Errorf("cannot reach the host's shares: %w", err)
	}
	share, err := request(ctx, stream, tag)
	if err != nil {
		_ = stream.Close()
		return nil, fmt.Errorf("cannot mount share %q: %w", tag, err)
	}
	return share, nil
}

func request(ctx context.Context, stream net.Conn, tag string) (*Share, error) {
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	if err := wire.Send(stream, wire.MountRequest{Tag: tag}); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	var resp wire.MountResponse
	if err := wire.Receive(stream, &resp); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if resp.Error != "" {
		return nil, errors.New(resp.Error)
	}
	return &Share{Conn: stream, Mode: resp.Mode}, nil
}

func (p *Port) connect(ctx context.Context) (*yamux.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil && !p.session.IsClosed() {
		return p.session, nil
	}
	rw, err := p.open()
	if err != nil {
		return nil, err
	}
	s, err := agent.Accept(ctx, rw, wire.Patience)
	if err != nil {
		return nil, err
	}
	p.session = s
	return s, nil
}

// Close ends the session, and all mounts with it.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return nil
	}
	return p.session.Close()
}

// Relay carries requests from the kernel to the host and replies back until
// the mount is gone, for which it returns nil, or the stream is. It owns both
// and closes them: without its device a mount answers ENOTCONN. The device
// should have been opened with O_NONBLOCK, else closing it waits for one more
// request.
func Relay(fuse *os.File, stream io.ReadWriteCloser) error {
	var once sync.Once
	stop := func() {
		once.Do(func() {
			_ = stream.Close()
			_ = fuse.Close()
		})
	}
	defer stop()
	replies := make(chan error, 1)
	go func() {
		defer stop()
		replies <- relayReplies(stream, fuse)
	}()
	err := relayRequests(fuse, stream)
	stop()
	rerr := <-replies
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot go on with a share: %w", errors.Join(err, rerr))
}

// relayRequests returns nil when the file system was unmounted. Linux says
// ECONNABORTED instead of ENODEV when that happens in the middle of a read.
func relayRequests(fuse *os.File, stream io.Writer) error {
	buf := new(wire.Buffer)
	for {
		n, err := fuse.Read(buf.Body())
		var errno unix.Errno
		if err != nil && !errors.As(err, &errno) {
			// The end of the mount, told by the poller, is no error of Linux's.
			n, err = readNow(fuse, buf.Body())
		}
		switch {
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ECONNABORTED):
			return nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR):
			continue // the request was aborted meanwhile
		case err != nil:
			return err
		}
		if _, err := stream.Write(buf.Frame(n)); err != nil {
			return err
		}
	}
}

// readNow is a read that doesn't wait.
func readNow(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	if err := raw.Control(func(fd uintptr) { n, rerr = unix.Read(int(fd), p) }); err != nil {
		return 0, err
	}
	return n, rerr
}

func relayReplies(stream io.Reader, fuse *os.File) error {
	buf := new(wire.Buffer)
	for {
		msg, err := wire.Read(stream, buf)
		if err != nil {
			return err
		}
		// The kernel takes a reply as a whole or not at all. It refuses one to
		// a request that it has given up (ENOENT), and what is none (EINVAL).
		_, err = fuse.Write(msg)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
}
