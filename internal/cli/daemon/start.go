package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a started engine may take to answer. It recovers
// containers and the network before it listens, so this is generous.
const patience = 30 * time.Second

// start runs aboded in a session of its own and waits until it answers.
// A lock file keeps two CLIs from starting two: the second waits and finds
// the first one's engine.
func (h *Host) start(ctx context.Context) error {
	program, err := find()
	if err != nil {
		return err
	}
	run := h.Run()
	for _, dir := range []string{run, filepath.Dir(h.Socket())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot start the engine: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unlock, err := lock(ctx, filepath.Join(run, "start.lock"))
	if err != nil {
		return fmt.Errorf("cannot start the engine: another process has been starting it for long: %w", err)
	}
	defer unlock()
	if h.answers(ctx) {
		return nil
	}
	logName := filepath.Join(run, "aboded.log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot start the engine: %w", err)
	}
	defer log.Close()
	from, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("cannot start the engine: %w", err)
	}
	cmd := exec.Command(program, h.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the engine: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for pause := 2 * time.Millisecond; ; pause = min(pause*2, 50*time.Millisecond) {
		if h.answers(ctx) {
			return nil
		}
		select {
		case err := <-exited:
			if err == nil {
				err = errors.New("it ended")
			}
			return fmt.Errorf("cannot start the engine %s: %w%s", program, err, tail(logName, from))
		case <-ctx.Done():
			return fmt.Errorf("cannot start the engine %s: no answer at %s: %w; it is left running as process %d%s",
				program, h.Address, ctx.Err(), cmd.Process.Pid, tail(logName, from))
		case <-time.After(pause):
		}
	}
}

// arguments are the flags of aboded that make it this host's engine.
func (h *Host) arguments() []string {
	args := []string{"--host", h.Address}
	for _, f := range []struct{ env, flag string }{
		{"ABODE_ROOT", "--root"}, {"ABODE_RUN", "--run"},
		{"ABODE_BRIDGE", "--bridge"}, {"ABODE_SUBNET", "--subnet"},
	} {
		if v := h.Getenv(f.env); v != "" {
			args = append(args, f.flag, v)
		}
	}
	return args
}

// answers tells that the engine accepts connections and replies to a ping.
func (h *Host) answers(ctx context.Context) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", h.Socket())
	if err != nil {
		return false
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte("HEAD /_ping HTTP/1.0\r\nHost: abode\r\n\r\n")); err != nil {
		return false
	}
	b := make([]byte, 16)
	n, _ := conn.Read(b)
	return strings.HasPrefix(string(b[:n]), "HTTP/1.")
}

// find looks for aboded beside the running program, then on PATH.
func find() (string, error) {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			p := filepath.Join(filepath.Dir(self), "aboded")
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return p, nil
			}
		}
	}
	p, err := exec.LookPath("aboded")
	if err != nil {
		return "", errors.New("cannot start the engine: aboded is neither beside abode nor on PATH; install it, or start it elsewhere and name its socket with --host")
	}
	return p, nil
}

// lock takes an exclusive lock on the file name, which it creates, within
// ctx. A process that dies drops its lock.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return func() { f.Close() }, nil
		case unix.EWOULDBLOCK, unix.EINTR:
		default:
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tail is what the engine has written to its log since from: its last lines,
// ready to be appended to an error.
func tail(name string, from int64) string {
	data, err := os.ReadFile(name)
	if err != nil || from > int64(len(data)) {
		return "; see " + name
	}
	lines := strings.Split(strings.TrimSpace(string(data[from:])), "\n")
	if lines[0] == "" {
		return "; its log " + name + " is empty"
	}
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	return "; the end of its log " + name + ":\n  " + strings.Join(lines, "\n  ")
}
