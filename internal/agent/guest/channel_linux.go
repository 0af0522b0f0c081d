package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A channel is the guest's end of a virtio-serial port over which sessions
// come and go while the port stays open. While no one is connected at the
// host, a read of the port returns nothing at once, and poll(2) always says
// POLLHUP; that somebody came is told by SIGIO alone (drivers/char/virtio_console.c).
type channel struct {
	f     *os.File
	sigio chan os.Signal
}

func openChannel(path string) (*channel, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	c := &channel{sigio: make(chan os.Signal, 1)}
	signal.Notify(c.sigio, unix.SIGIO)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETOWN, unix.Getpid()); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot ask for signals from %s: %w", path, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK|unix.O_ASYNC); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot ask for signals from %s: %w", path, err)
	}
	c.f = os.NewFile(uintptr(fd), path)
	return c, nil
}

// session returns a stream for one session. The one before must be closed.
// Reads wait until somebody connects; once bytes have arrived, the end of the
// connection is io.EOF. Closing it leaves the port open.
func (c *channel) session() io.ReadWriteCloser {
	c.f.SetDeadline(time.Time{})
	return &session{c: c, closed: make(chan struct{})}
}

type session struct {
	c      *channel
	begun  atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (s *session) Read(p []byte) (int, error) {
	for {
		n, err := s.c.f.Read(p)
		if n > 0 {
			s.begun.Store(true)
			return n, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, io.ErrClosedPipe
		}
		if err != nil && !errors.Is(err, io.EOF) || s.begun.Load() {
			return 0, err
		}
		select {
		case <-s.c.sigio:
		case <-s.closed:
			return 0, io.ErrClosedPipe
		case <-time.After(time.Second): // a signal that came between the read and here
		}
	}
}

func (s *session) Write(p []byte) (int, error) {
	n, err := s.c.f.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.ErrClosedPipe
	}
	return n, err
}

func (s *session) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.c.f.SetDeadline(time.Unix(1, 0))
	})
	return nil
}
