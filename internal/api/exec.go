package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/gorilla/mux"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
)

func (s *server) execRoutes() []route {
	return []route{
		{"POST", "/containers/{name}/exec", s.execCreate},
		{"POST", "/exec/{id}/start", s.execStart},
		{"POST", "/exec/{id}/resize", s.execResize},
		{"GET", "/exec/{id}/json", s.execInspect},
	}
}

func (s *server) execCreate(w http.ResponseWriter, r *http.Request) error {
	var cfg container.ExecCreateRequest
	if err := readJSON(w, r, &cfg); err != nil {
		return err
	}
	if len(cfg.Cmd) == 0 {
		return invalid("no exec command specified")
	}
	if _, err := detachKeys(cfg.DetachKeys); err != nil {
		return err
	}
	if requested(r).before(42) {
		cfg.ConsoleSize = nil
	}
	id, err := s.engine.ExecCreate(r.Context(), mux.Vars(r)["name"], cfg)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, container.ExecCreateResponse{ID: id})
}

// execStart starts an exec, detached, or on the connection taken over. In the
// second form an error to start is told in the stream, as dockerd does: the
// CLIs show nothing of a response that is no upgrade.
func (s *server) execStart(w http.ResponseWriter, r *http.Request) error {
	id := mux.Vars(r)["id"]
	var req container.ExecStartRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if requested(r).before(42) || !req.Tty {
		req.ConsoleSize = nil
	}
	if req.Detach {
		if _, err := s.engine.ExecStart(r.Context(), id, true, req.Tty, req.ConsoleSize); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	exec, err := s.engine.ExecInspect(r.Context(), id)
	if err != nil {
		return err
	}
	if exec.Running || exec.ExitCode != nil {
		return &apiError{errdefs.ErrConflict, "exec " + id + " was started before; an exec runs once"}
	}
	framed := !req.Tty
	conn, err := hijack(w, r, streamType(requested(r), framed))
	if err != nil {
		return err
	}
	defer conn.shut()
	conn.input(exec.OpenStdin)
	if req.Tty {
		keys := exec.DetachKeys
		if len(keys) == 0 {
			keys = defaultDetachKeys
		}
		conn.detachOn(keys)
	}
	streams, err := s.engine.ExecStart(conn.ctx, id, false, req.Tty, req.ConsoleSize)
	if err != nil {
		return tellFailure(conn, text(err), framed, exec.OpenStderr)
	}
	return conn.served(streams.Serve(conn.ctx, &execConn{conn, func() { s.awaitExec(conn.ctx, id) }}, framed))
}

// tellFailure writes into an exec's stream why it has not started, with the
// name of who says so: it is no output of the command. A client may take the
// output alone, and has the text there.
func tellFailure(w io.Writer, message string, framed, stderr bool) error {
	if !framed {
		_, err := fmt.Fprintf(w, "abode: %s\r\n", message)
		return err
	}
	stream := stdcopy.Stdout
	if stderr {
		stream = stdcopy.Stderr
	}
	return writeFrame(w, stream, []byte("abode: "+message+"\n"))
}

// execConn is the connection of an exec. Its output's end reaches the client
// when the exec's own end is known: the CLIs then ask for its exit code, once.
type execConn struct {
	*hijacked
	ended func()
}

func (c *execConn) CloseWrite() error {
	c.ended()
	return c.hijacked.CloseWrite()
}

// awaitExec waits until an exec has ended. Mostly it has, or is about to.
func (s *server) awaitExec(ctx context.Context, id string) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if exec, err := s.engine.ExecInspect(ctx, id); err != nil || !exec.Running {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) execResize(w http.ResponseWriter, r *http.Request) error {
	width, height, err := querySize(r)
	if err != nil {
		return err
	}
	if err := s.engine.ExecResize(r.Context(), mux.Vars(r)["id"], width, height); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *server) execInspect(w http.ResponseWriter, r *http.Request) error {
	exec, err := s.engine.ExecInspect(r.Context(), mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, exec)
}
