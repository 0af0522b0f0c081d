package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/runtime"
)

// Config says what a server serves.
type Config struct {
	Log     *slog.Logger
	Runtime *runtime.Runtime // nil: no containers (tests of the protocol)
	Guest   bool
	// Wake makes a guest that was resumed from a template its own machine. nil: not a guest.
	Wake func(ctx context.Context, req agent.WakeRequest) error
	// Shutdown is called once the containers have ended, before the caller
	// gets its answer; what ends the process must come a moment later.
	Shutdown func(ctx context.Context) error
	// Done is called after each call. nil: nobody wants to know.
	Done func()
}

func (s *Server) register(cfg Config) {
	m := s.methods
	m[agent.MethodInfo] = unary(func(ctx context.Context, _ *agent.Empty) (agent.InfoResponse, error) {
		info := agent.InfoResponse{Version: agent.Version, Guest: cfg.Guest, PID: os.Getpid(), KernelRelease: release()}
		if cfg.Runtime != nil {
			info.CgroupVersion = cfg.Runtime.CgroupVersion()
			info.Warnings = cfg.Runtime.Warnings()
		}
		return info, nil
	})
	m[agent.MethodShutdown] = plain(func(ctx context.Context, _ *agent.Empty) error {
		if cfg.Runtime != nil {
			if err := cfg.Runtime.Close(ctx); err != nil {
				s.log.Warn("not everything was removed at shutdown", "error", err)
			}
		}
		if cfg.Shutdown != nil {
			return cfg.Shutdown(ctx)
		}
		return nil
	})
	if cfg.Wake != nil {
		m[agent.MethodWake] = plain(func(ctx context.Context, req *agent.WakeRequest) error {
			return cfg.Wake(ctx, *req)
		})
	}
	if cfg.Runtime != nil {
		s.registerContainers(cfg.Runtime)
		s.registerProcesses(cfg.Runtime)
		s.registerFiles(cfg.Runtime)
	}
}

func (s *Server) registerContainers(r *runtime.Runtime) {
	m := s.methods
	m[agent.MethodPrepare] = unary(func(ctx context.Context, req *agent.PrepareRequest) (agent.ProcessResponse, error) {
		pid, err := r.Prepare(ctx, req)
		return agent.ProcessResponse{PID: pid}, err
	})
	m[agent.MethodForget] = plain(func(ctx context.Context, req *agent.PrepareRequest) error { return r.Forget(ctx, req.NIC) })
	m[agent.MethodCreate] = unary(func(ctx context.Context, req *agent.CreateRequest) (agent.ProcessResponse, error) {
		pid, err := r.Create(ctx, req)
		return agent.ProcessResponse{PID: pid}, err
	})
	m[agent.MethodDelete] = plain(func(ctx context.Context, req *agent.IDRequest) error {
		// What was begun is finished, whether or not the caller still waits.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return r.Delete(ctx, req.ID)
	})
	m[agent.MethodList] = unary(func(context.Context, *agent.Empty) (agent.ListResponse, error) {
		return r.List(), nil
	})
	m[agent.MethodPause] = plain(func(_ context.Context, req *agent.IDRequest) error { return r.Pause(req.ID) })
	m[agent.MethodResume] = plain(func(_ context.Context, req *agent.IDRequest) error { return r.Resume(req.ID) })
	m[agent.MethodUpdate] = plain(func(_ context.Context, req *agent.UpdateRequest) error { return r.Update(req) })
	m[agent.MethodRewire] = plain(func(ctx context.Context, req *agent.RewireRequest) error { return r.Rewire(ctx, req) })
	m[agent.MethodStats] = unary(func(_ context.Context, req *agent.IDRequest) (agent.StatsResponse, error) {
		return r.Stats(req.ID)
	})
	m[agent.MethodTop] = unary(func(_ context.Context, req *agent.IDRequest) (agent.TopResponse, error) {
		return r.Top(req.ID)
	})
}

func (s *Server) registerProcesses(r *runtime.Runtime) {
	m := s.methods
	m[agent.MethodStart] = func(c *call) error {
		var req agent.StartRequest
		if err := c.decode(&req); err != nil {
			return err
		}
		var conn io.ReadWriter = c.stream
		if req.Attach == nil {
			c.watch()
		} else {
			conn = c.listen()
			defer c.shut()
		}
		return r.Start(c.ctx, &req, conn, func(started agent.ProcessResponse) error { return c.answer(started) })
	}
	m[agent.MethodResize] = plain(func(_ context.Context, req *agent.ResizeRequest) error {
		return r.Resize(req.ID, req.ExecID, req.Width, req.Height)
	})
	m[agent.MethodKill] = plain(func(_ context.Context, req *agent.KillRequest) error { return r.Kill(req) })
	m[agent.MethodWait] = unary(func(ctx context.Context, req *agent.ProcessRequest) (agent.Exit, error) {
		return r.Wait(ctx, req.ID, req.ExecID)
	})
	m[agent.MethodAttach] = func(c *call) error {
		var req agent.AttachRequest
		if err := c.decode(&req); err != nil {
			return err
		}
		defer c.shut()
		return r.Attach(c.ctx, &req, c.stream, func() error { return c.answer(agent.Empty{}) })
	}
}

// tarTo makes a handler that writes to the caller until it hangs up.
func tarTo[Req any](f func(c *call, req *Req) error) func(c *call) error {
	return func(c *call) error {
		var req Req
		if err := c.decode(&req); err != nil {
			return err
		}
		c.watch()
		stop := context.AfterFunc(c.ctx, func() { c.stream.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		return f(c, &req)
	}
}

func (s *Server) registerFiles(r *runtime.Runtime) {
	m := s.methods
	m[agent.MethodStat] = unary(func(ctx context.Context, req *agent.PathRequest) (agent.FileStat, error) { return r.Stat(ctx, req) })
	m[agent.MethodDiff] = unary(func(_ context.Context, req *agent.IDRequest) (agent.DiffResponse, error) { return r.Diff(req.ID) })
	m[agent.MethodArchive] = tarTo(func(c *call, req *agent.PathRequest) error {
		return r.Archive(c.ctx, req, func() error { return c.answer(agent.Empty{}) }, c.stream)
	})
	m[agent.MethodLayer] = tarTo(func(c *call, req *agent.IDRequest) error {
		return r.Layer(c.ctx, req.ID, func() error { return c.answer(agent.Empty{}) }, c.stream)
	})
	m[agent.MethodExtract] = func(c *call) error {
		var req agent.ExtractRequest
		if err := c.decode(&req); err != nil {
			return err
		}
		err := r.Extract(c.ctx, &req, func() error { return c.answer(agent.Empty{}) }, c.stream)
		if !c.answered {
			return err
		}
		// The caller must not be stuck with bytes that nobody reads.
		_, _ = io.Copy(io.Discard, c.stream)
		if err != nil {
			return agent.WriteFrame(c.stream, &agent.Response{Error: asError(err)})
		}
		return c.answer(agent.Empty{})
	}
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return strings.TrimRight(string(u.Release[:]), "\x00")
}
