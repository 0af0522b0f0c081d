package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent/server"
	"github.com/abode-run/abode/internal/rest"
	"github.com/abode-run/abode/internal/runtime"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "host" && os.Getenv(inNamespace) == "" {
		goruntime.LockOSThread() // it makes the namespace
	}
}

// inNamespace marks the second execution of the host's agent and tells it the
// descriptor of the mount namespace that it came from.
const inNamespace = "ABODE_AGENT_NS"

// host serves the agent of the host on DIR/agent.sock until it is told to shut
// down. It holds DIR/agent.lock while it lives.
func host(args []string) error {
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	run := flags.String("run", "", "directory of the socket and of mount points")
	parent := flags.String("cgroup-parent", "abode", "cgroup below which containers get theirs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *run == "" || !filepath.IsAbs(*run) {
		return errors.New("--run must be an absolute path")
	}
	if os.Getenv(inNamespace) == "" {
		return enterNamespace()
	}
	var hostMounts *os.File
	if fd, err := strconv.Atoi(os.Getenv(inNamespace)); err == nil {
		unix.CloseOnExec(fd)
		hostMounts = os.NewFile(uintptr(fd), "mount namespace of the host")
	}
	os.Unsetenv(inNamespace)
	// Its name would be a descriptor's number.
	_ = os.WriteFile("/proc/self/comm", []byte("abode-agent"), 0)
	lock, err := lockRun(*run)
	if err != nil {
		return err
	}
	defer lock.Close()
	out, err := os.OpenFile(filepath.Join(*run, "agent.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the agent's log: %w", err)
	}
	defer out.Close()
	_ = debug.SetCrashOutput(out, debug.CrashOptions{})
	log := slog.New(slog.NewTextHandler(out, nil))
	// An agent that was killed has left these, and nobody else has.
	if err := runtime.CleanCgroups(context.Background(), *parent); err != nil {
		log.Warn("not everything of an earlier agent could be removed", "error", err)
	}
	r, err := runtime.New(runtime.Config{Dir: filepath.Join(*run, "agent"), CgroupParent: *parent, Ahead: 2, Log: log, HostMounts: hostMounts})
	if err != nil {
		return err
	}
	socket := filepath.Join(*run, "agent.sock")
	os.Remove(socket)
	unix.Umask(0o177)
	l, err := net.Listen("unix", socket)
	unix.Umask(0o022)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	s := server.New(server.Config{Log: log, Runtime: r, Done: rest.New().Done, Shutdown: func(context.Context) error {
		err := runtime.CleanCgroups(context.WithoutCancel(ctx), *parent)
		// The answer goes out first.
		time.AfterFunc(100*time.Millisecond, func() { close(over) })
		return err
	}})
	go serve(ctx, l, s, log)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	log.Info("the agent is ready", "socket", socket)
	select {
	case <-over:
	case sig := <-signals:
		log.Info("ending all containers", "signal", sig)
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err = errors.Join(r.Close(ctx), runtime.CleanCgroups(ctx, *parent))
	}
	l.Close()
	return err
}

func serve(ctx context.Context, l net.Listener, s *server.Server, log *slog.Logger) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := s.ServeChannel(ctx, conn); err != nil && ctx.Err() == nil {
				log.Warn("a connection was refused", "error", err)
			}
		}()
	}
}

// lockRun makes sure that there is one agent for a run directory.
func lockRun(run string) (*os.File, error) {
	if err := os.MkdirAll(run, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the run directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(run, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("an agent runs already on %s: %w", run, err)
	}
	_ = f.Truncate(0) // the number is for people; the lock is what counts
	fmt.Fprintln(f, os.Getpid())
	return f, nil
}

// enterNamespace gives this process a mount namespace of its own, into which
// the host's mounts go on to propagate and out of which none does, and
// executes the program again: a Go process cannot move all of its threads.
func enterNamespace() error {
	// Kept open, for the sources of bind mounts.
	outside, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot open the host's mount namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w: the agent of the host must be root", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts from leaving: %w", err)
	}
	return runtime.ExecSealed(append(os.Environ(), inNamespace+"="+strconv.Itoa(outside)))
}
