package server

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// Config says what a server serves.
type Config struct {
	Log *slog.Logger
	// Guest is true in a guest, where Wake must be set.
	Guest bool
	// Wake makes a guest that was resumed from a template its own machine.
	Wake func(ctx context.Context, req agent.WakeRequest) error
	// Shutdown is called once the containers have ended, before the caller gets its answer.
	Shutdown func(ctx context.Context) error
	// Warnings go into every InfoResponse.
	Warnings []string
}

func (s *Server) register(cfg Config) {
	m := s.methods
	m[agent.MethodInfo] = unary(func(ctx context.Context, _ *agent.Empty) (agent.InfoResponse, error) {
		return agent.InfoResponse{
			Version:       agent.Version,
			Guest:         cfg.Guest,
			PID:           os.Getpid(),
			KernelRelease: release(),
			Warnings:      cfg.Warnings,
		}, nil
	})
	m[agent.MethodShutdown] = plain(func(ctx context.Context, _ *agent.Empty) error {
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
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return strings.TrimRight(string(u.Release[:]), "\x00")
}
