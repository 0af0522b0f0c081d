package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ServePort serves one session after the other on a virtio-serial port, whose
// reader sees end of file while nobody is connected on the host's side. It
// opens the device anew for each session, which also drops what an earlier
// one left in it, and returns when ctx ends or the device cannot be opened.
func (s *Server) ServePort(ctx context.Context, path string) error {
	for ctx.Err() == nil {
		p, err := openPort(path)
		if err != nil {
			return fmt.Errorf("cannot open the channel to the host: %w", err)
		}
		if err := s.ServeChannel(ctx, p); err != nil {
			s.log.Debug("a session ended", "error", err)
		}
		p.Close()
	}
	return ctx.Err()
}

// port waits in Read for the host's side to connect. After the first byte of
// a session end of file means what it says.
type port struct {
	f      *os.File
	begun  bool
	closed atomic.Bool
}

func openPort(path string) (*port, error) {
	// The device admits one user; an earlier one may be on its way out.
	for attempt := 0; ; attempt++ {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err == nil {
			return &port{f: f}, nil
		}
		if attempt == 50 {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pollIdle is how often an unconnected port is looked at. The driver has no
// event that would wake a reader when the host's side connects.
const pollIdle = 5 * time.Millisecond

func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := p.f.Read(b)
		if n > 0 {
			p.begun = true
			return n, err
		}
		if err != io.EOF || p.begun || p.closed.Load() {
			return n, err
		}
		time.Sleep(pollIdle)
	}
}

func (p *port) Write(b []byte) (int, error) { return p.f.Write(b) }

func (p *port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.f.Close()
}
