package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A place is what all contestants share: the folder of this run, the call to
// end, and the images' sources.
type place struct {
	options
	ctx context.Context
	dir string
}

// callLimit is how long one call may take, and longLimit one that is a run of
// its own: far more than any should.
const (
	callLimit = 3 * time.Minute
	longLimit = 15 * time.Minute
)

// path is a file or folder of this run.
func (p *place) path(parts ...string) string {
	return filepath.Join(append([]string{p.dir}, parts...)...)
}

// passing is a folder, or a file in it, where a daemon has what a reboot may
// clear: in memory, as on most machines. It is this run's own, as /run is.
func passing(parts ...string) string {
	return filepath.Join(append([]string{"/run"}, parts...)...)
}

// command is a call with this run's environment and more of it.
func (p *place) command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "HOME="+p.dir), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// asset is the path of something that hack/assets made.
func (p *place) asset(pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(p.cache, pattern))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("cannot find %s in %q: run make bench", pattern, p.cache)
	}
	return found[len(found)-1], nil
}

// timed runs a call to its end and says how long it took. Its output goes to
// files, not pipes: what it leaves running may hold them.
func (p *place) timed(cmd *exec.Cmd) (time.Duration, error) { return p.limited(cmd, callLimit) }

// limited is timed with a limit of its own.
func (p *place) limited(cmd *exec.Cmd, most time.Duration) (time.Duration, error) {
	stderr, err := os.CreateTemp(p.dir, "stderr-")
	if err != nil {
		return 0, err
	}
	defer stderr.Close()
	os.Remove(stderr.Name())
	cmd.Stderr = stderr
	limit := time.AfterFunc(most, func() { _ = cmd.Process.Kill() })
	begin := time.Now()
	err = cmd.Run()
	took := time.Since(begin)
	limit.Stop()
	if err == nil {
		return took, nil
	}
	if p.ctx.Err() != nil {
		return took, p.ctx.Err()
	}
	if took >= most {
		return took, fmt.Errorf("%s did not end within %v", filepath.Base(cmd.Path), most)
	}
	said := make([]byte, 4<<10)
	n, _ := stderr.ReadAt(said, 0)
	return took, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLine(said[:n]))
}

// do is timed for a call whose time does not matter.
func (p *place) do(cmd *exec.Cmd) error {
	_, err := p.timed(cmd)
	return err
}

// output runs a call and returns what it prints, also before it fails.
func (p *place) output(cmd *exec.Cmd) (string, error) { return p.outputWithin(cmd, callLimit) }

// outputWithin is output with a limit of its own.
func (p *place) outputWithin(cmd *exec.Cmd, most time.Duration) (string, error) {
	file, err := os.CreateTemp(p.dir, "stdout-")
	if err != nil {
		return "", err
	}
	defer file.Close()
	os.Remove(file.Name())
	cmd.Stdout = file
	_, failed := p.limited(cmd, most)
	b, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<24))
	return strings.TrimSpace(string(b)), errors.Join(failed, err)
}

// lastLine is where most programs say what went wrong.
func lastLine(said []byte) []byte {
	said = bytes.TrimSpace(said)
	return said[bytes.LastIndexByte(said, '\n')+1:]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	return line
}

// A daemon is a process that a contestant keeps during the run.
type daemon struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// startDaemon starts one and waits until up succeeds.
func (p *place) startDaemon(cmd *exec.Cmd, log string, up func() error) (*daemon, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// Not ended with the context, but in order, by stop.
	own := exec.Command(cmd.Path, cmd.Args[1:]...)
	own.Env, own.Stdout, own.Stderr = cmd.Env, file, file
	own.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := own.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: own, log: log, exited: make(chan struct{})}
	go func() { _ = own.Wait(); close(d.exited) }()
	for range 600 {
		if err = up(); err == nil {
			return d, nil
		}
		select {
		case <-d.exited:
			return nil, fmt.Errorf("%s ended at its start: %s", filepath.Base(cmd.Path), d.lastWords())
		case <-p.ctx.Done():
			d.stop()
			return nil, p.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	d.stop()
	return nil, errors.Join(fmt.Errorf("%s does not answer: %s", filepath.Base(cmd.Path), d.lastWords()), err)
}

// stop ends the daemon as its service manager would.
func (d *daemon) stop() {
	if d == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
}

func (d *daemon) lastWords() string {
	b, _ := os.ReadFile(d.log)
	return string(lastLine(b))
}
