package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/logs"
)

// stdio carries a process's streams: output to the log first and then to every
// attacher, input from all of them.
type stdio struct {
	in, out, err *os.File // the agent's ends; in and out are one for a terminal
	terminal     bool
	stdinOnce    bool
	theirs       []*os.File // the process's ends: stdin, stdout, stderr

	logMu sync.Mutex
	log   io.Writer // nil: none
	frame int       // bytes of output that are logged at a time, at most; 0: any number
	// logFails is told when the log begins to fail, once until it works again.
	logFails func(error)
	logErr   error // of the last write

	inMu     sync.Mutex // held while writing to in
	inClosed bool

	mu        sync.Mutex
	attachers map[*attacher]struct{}
	ended     bool

	pumps    sync.WaitGroup
	done     chan struct{} // closed when all output was written out
	exitOnce sync.Once
	exited   chan struct{}
	exitAt   time.Time
}

// grace is how long after a process's end its output may still come from
// others that hold the pipe.
const grace = time.Second

func newStdio(terminal, openStdin, stdinOnce bool, log io.Writer) (*stdio, error) {
	s := &stdio{
		terminal: terminal, stdinOnce: stdinOnce, log: log,
		attachers: map[*attacher]struct{}{}, done: make(chan struct{}), exited: make(chan struct{}),
	}
	if terminal {
		return s, nil
	}
	var cu cleanup.Stack
	defer cu.Clean()
	pipe := func(ours int) (r, w *os.File, err error) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return nil, nil, fmt.Errorf("cannot make a pipe: %w", err)
		}
		// The poller serves this side; the process's must block.
		unix.SetNonblock(fds[ours], true)
		r, w = os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe")
		cu.Add(func() { r.Close(); w.Close() })
		return r, w, nil
	}
	const reads, writes = 0, 1
	s.theirs = make([]*os.File, 3)
	var err error
	if openStdin {
		if s.theirs[0], s.in, err = pipe(writes); err != nil {
			return nil, err
		}
	}
	if s.out, s.theirs[1], err = pipe(reads); err != nil {
		return nil, err
	}
	if s.err, s.theirs[2], err = pipe(reads); err != nil {
		return nil, err
	}
	cu.Release()
	return s, nil
}

// handOver lists the descriptors that the process gets, for a control message.
func (s *stdio) handOver(fds *[]int) (stdio [3]int) {
	stdio = [3]int{-1, -1, -1}
	for i, f := range s.theirs {
		if f != nil {
			stdio[i] = len(*fds)
			// A workload expects pipes that block; O_NONBLOCK is the open file's.
			_ = unix.SetNonblock(int(rawFD(f)), false)
			*fds = append(*fds, int(rawFD(f)))
		}
	}
	return stdio
}

// own gives the pipes to the workload's user, so that it can open /dev/stdout.
func (s *stdio) own(uid, gid int) {
	for _, f := range s.theirs {
		if f != nil {
			_ = f.Chown(uid, gid) // the open descriptors work for any user
		}
	}
}

// handedOver closes the process's ends, which it has by now.
func (s *stdio) handedOver() {
	for _, f := range s.theirs {
		if f != nil {
			f.Close()
		}
	}
	s.theirs = nil
}

// setTerminal takes over the terminal's master.
func (s *stdio) setTerminal(master int) {
	unix.SetNonblock(master, true)
	s.out = os.NewFile(uintptr(master), "terminal")
	s.in = s.out
}

// run begins to copy output.
func (s *stdio) run() {
	pump := func(f *os.File, kind byte) {
		s.pumps.Add(1)
		go func() {
			defer s.pumps.Done()
			s.pump(f, kind)
		}()
	}
	pump(s.out, agent.IOStdout)
	if s.err != nil {
		pump(s.err, agent.IOStderr)
	}
	go func() {
		s.pumps.Wait()
		s.end()
	}()
}

// end lets the attachers go; it is called when output has ended.
func (s *stdio) end() {
	s.closeStdin()
	s.mu.Lock()
	s.ended = true
	for a := range s.attachers {
		close(a.done)
	}
	clear(s.attachers)
	s.mu.Unlock()
	for _, f := range []*os.File{s.out, s.err} {
		if f != nil {
			f.Close()
		}
	}
	if log, ok := s.log.(io.Closer); ok {
		log.Close()
	}
	close(s.done)
}

// exit says that the process has ended: output that is there is copied, and
// what others still write for the time of grace.
func (s *stdio) exit() {
	s.exitOnce.Do(func() {
		s.exitAt = time.Now()
		close(s.exited)
		s.mu.Lock()
		for a := range s.attachers {
			hurry(a.w)
		}
		s.mu.Unlock()
		for _, f := range []*os.File{s.out, s.err} {
			if f != nil {
				f.SetReadDeadline(s.exitAt.Add(grace))
			}
		}
	})
}

// abandon ends streams that were never run.
func (s *stdio) abandon() {
	s.handedOver()
	if s.in != nil && !s.terminal {
		s.in.Close()
	}
	s.end()
}

func (s *stdio) pump(f *os.File, kind byte) {
	buf := make([]byte, 32<<10)
	left := -1 // bytes that were there at the exit; -1: not exited
	for {
		n, err := f.Read(buf)
		if n > 0 {
			s.emit(kind, buf[:n])
		}
		if left > 0 {
			left -= n
		}
		if left < 0 {
			select {
			case <-s.exited:
				left = available(f)
			default:
			}
		}
		switch {
		case err == nil:
			if left > 0 {
				f.SetReadDeadline(time.Time{}) // a slow attacher may take longer than the grace
			} else if left == 0 {
				f.SetReadDeadline(s.exitAt.Add(grace))
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && left > 0:
			f.SetReadDeadline(time.Time{})
		default: // end of file; EIO of a terminal that nobody has open; the end of the grace
			return
		}
	}
}

// available is how many bytes wait in f.
func available(f *os.File) int {
	n := 0
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}

// emit writes output to the log, then to each attacher. A log that fails, as on
// a full disk, stops neither the workload nor the attachers.
func (s *stdio) emit(kind byte, p []byte) {
	if s.log != nil {
		s.logMu.Lock()
		err := s.append(kind, p)
		if err != nil && s.logErr == nil && s.logFails != nil {
			s.logFails(err)
		}
		s.logErr = err
		s.logMu.Unlock()
	}
	s.mu.Lock()
	to := make([]*attacher, 0, len(s.attachers))
	for a := range s.attachers {
		to = append(to, a)
	}
	s.mu.Unlock()
	for _, a := range to {
		if err := a.write(kind, p); err != nil {
			s.detach(a)
		}
	}
}

// append writes output to the log. The caller holds logMu.
func (s *stdio) append(kind byte, p []byte) error {
	frame := len(p)
	if s.frame > 0 {
		frame = min(frame, s.frame)
	}
	now := time.Now()
	for part := range slices.Chunk(p, frame) {
		if err := logs.Append(s.log, kind, now, part); err != nil {
			return err
		}
	}
	return nil
}

// write gives p to the process's standard input.
func (s *stdio) write(p []byte) error {
	s.inMu.Lock()
	defer s.inMu.Unlock()
	if s.in == nil || s.inClosed {
		return io.ErrClosedPipe
	}
	_, err := s.in.Write(p)
	return err
}

// closeStdin ends the process's standard input. A terminal has no such end.
func (s *stdio) closeStdin() {
	if s.in == nil || s.terminal {
		return
	}
	s.in.SetWriteDeadline(time.Unix(1, 0)) // wakes a writer that holds the lock
	s.inMu.Lock()
	defer s.inMu.Unlock()
	if !s.inClosed {
		s.inClosed = true
		s.in.Close()
	}
}

func (s *stdio) resize(width, height uint) error {
	if !s.terminal || s.out == nil {
		return errorf(agent.ClassConflict, "the process has no terminal")
	}
	raw, err := s.out.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = setSize(int(fd), width, height) }); err != nil {
		return errorf(agent.ClassConflict, "the terminal is closed")
	}
	return serr
}

// rawFD returns a descriptor and leaves the file non-blocking, unlike Fd. That
// of a closed file is none.
func rawFD(f *os.File) (fd uintptr) {
	fd = ^uintptr(0)
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = n })
	}
	return fd
}
