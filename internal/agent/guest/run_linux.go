// Package guest is what the agent does beyond serving when it is PID 1 of a
// guest: it makes the initramfs a system that containers can be created on,
// opens the channel to the daemon, and makes a clone of a template its own
// machine before anything else runs on it.
package guest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"golang.org/x/sys/unix"
)

// Hooks are the calls of the agent protocol that only a guest answers, or
// answers in its own way.
type Hooks struct {
	// Wake carries out agent.MethodWake.
	Wake func(ctx context.Context, req agent.WakeRequest) error
	// Shutdown writes everything out, unmounts, and powers the guest off
	// shortly after it returned, so that the caller gets its answer. It is
	// called when all containers have ended.
	Shutdown func(ctx context.Context) error
}

// Server serves sessions of the agent protocol; internal/agent/server has one.
type Server interface {
	// ServeChannel serves one session on rw, waiting for it to begin, and
	// closes rw.
	ServeChannel(ctx context.Context, rw io.ReadWriteCloser) error
}

// Run is the whole life of PID 1. It returns only an error, after which the
// caller exits, which makes the kernel panic and the hypervisor end.
// newServer is called once the system stands.
func Run(log *slog.Logger, newServer func(Hooks) (Server, error)) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("a guest's agent is PID 1, not %d", os.Getpid())
	}
	if err := seal(); err != nil {
		return err
	}
	unix.Umask(0o022)
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if err := mountSystem(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := setKernel(); err != nil {
		return err
	}
	if err := linkPorts(AgentPort, LogPort, SharePort); err != nil {
		return err
	}
	// A container's init opens it in its own user namespace; everywhere else
	// everybody may open it too.
	if err := os.Chmod("/dev/fuse", 0o666); err != nil && !os.IsNotExist(err) {
		return err
	}
	server, err := newServer(Hooks{
		Wake:     func(_ context.Context, req agent.WakeRequest) error { return wake(req) },
		Shutdown: func(context.Context) error { return shutdown(log) },
	})
	if err != nil {
		return err
	}
	c, err := openChannel(portDir + "/" + AgentPort)
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // a template is made of what is in memory now
	for {
		if err := server.ServeChannel(context.Background(), c.session()); err != nil {
			log.Warn("a session with the daemon broke", "err", err)
			time.Sleep(10 * time.Millisecond) // never a busy loop, whatever the port does
		}
	}
}
