// Command testagent is an agent for the guests of this package's tests: the
// guest and the channel are the real ones; instead of creating containers it
// lets a test look at the guest and change it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/agent/guest"
	"github.com/abode-run/abode/internal/share"
	"golang.org/x/sys/unix"
)

// Request is what all methods of a test take.
type Request struct {
	Path, Target, Type, Data string
	Offset                   int64
	Size                     int
}

func main() {
	guest.Modprobe()
	if len(os.Args) > 1 {
		run := map[string]func([]string) error{"share": share.Main, "share-jail": share.JailMain}[os.Args[1]]
		if err := run(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := guest.Run(log, func(h guest.Hooks) (guest.Server, error) { return server{h}, nil })
	log.Error("cannot run the guest", "err", err)
	os.Exit(1)
}

type server struct{ hooks guest.Hooks }

func (s server) ServeChannel(ctx context.Context, rw io.ReadWriteCloser) error {
	session, err := agent.Accept(ctx, rw)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		stream, err := session.Accept()
		if err != nil {
			return nil
		}
		go s.serve(stream)
	}
}

func (s server) serve(conn net.Conn) {
	defer conn.Close()
	var req agent.Request
	if err := agent.ReadFrame(conn, &req); err != nil {
		return
	}
	answer, err := s.handle(req)
	if err != nil {
		_ = agent.WriteFrame(conn, &agent.Response{Error: &agent.Error{Class: agent.ClassInternal, Message: err.Error()}})
		return
	}
	body, _ := json.Marshal(answer)
	_ = agent.WriteFrame(conn, &agent.Response{Body: body})
}

func (s server) handle(req agent.Request) (any, error) {
	var r Request
	if len(req.Body) > 0 && req.Method != agent.MethodWake {
		if err := json.Unmarshal(req.Body, &r); err != nil {
			return nil, err
		}
	}
	switch req.Method {
	case agent.MethodInfo:
		var u unix.Utsname
		_ = unix.Uname(&u)
		return agent.InfoResponse{Version: agent.Version, Guest: true, PID: os.Getpid(), KernelRelease: unix.ByteSliceToString(u.Release[:])}, nil
	case agent.MethodWake:
		var w agent.WakeRequest
		if err := json.Unmarshal(req.Body, &w); err != nil {
			return nil, err
		}
		return agent.Empty{}, s.hooks.Wake(context.Background(), w)
	case agent.MethodShutdown:
		return agent.Empty{}, s.hooks.Shutdown(context.Background())
	case "test.read":
		f, err := os.Open(r.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if r.Offset > 0 {
			if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
				return nil, err
			}
		}
		return io.ReadAll(io.LimitReader(f, int64(r.Size)))
	case "test.write":
		f, err := os.OpenFile(r.Path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if _, err := f.WriteString(r.Data); err != nil {
			f.Close()
			return nil, err
		}
		return agent.Empty{}, f.Close()
	case "test.remove":
		return agent.Empty{}, os.Remove(r.Path)
	case "test.sync":
		unix.Sync()
		return agent.Empty{}, nil
	case "test.socket": // of a family that a module brings
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
		if err != nil {
			return nil, err
		}
		return agent.Empty{}, unix.Close(fd)
	case "test.mount":
		if err := os.MkdirAll(r.Target, 0o755); err != nil {
			return nil, err
		}
		return agent.Empty{}, unix.Mount(r.Path, r.Target, r.Type, 0, r.Data)
	}
	return nil, fmt.Errorf("no such method: %s", req.Method)
}
