package compare

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/compare/gauge"
)

// GaugeDir is where the gauge and what it writes are in a container.
const GaugeDir = "/.abode-compare"

// answerTime is how long the gauge may take for an answer.
const answerTime = time.Minute

// gauged is a container of the image in which the gauge runs.
type gauged struct {
	*made
	conn   client.HijackedResponse
	lines  chan []byte // closed when it has ended
	stderr cut
	gone   context.CancelFunc
}

// gauge starts a container with the gauge as its command.
func (e *Entrant) gauge(ctx context.Context, p *Plan, network container.NetworkMode) (_ *gauged, err error) {
	program, err := p.program()
	if err != nil {
		return nil, err
	}
	defer program.Close()
	m, err := e.create(ctx, p, client.ContainerCreateOptions{
		Config: &container.Config{
			Entrypoint: []string{GaugeDir + "/gauge"}, Cmd: p.Gauge, User: "0", WorkingDir: "/",
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		},
		HostConfig: &container.HostConfig{NetworkMode: network},
	})
	if err != nil {
		return nil, err
	}
	g := &gauged{made: m, lines: make(chan []byte), gone: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.end(ctx))
		}
	}()
	if err := g.bring(ctx, program); err != nil {
		return nil, fmt.Errorf("cannot copy the gauge into the container: %w", err)
	}
	attached, err := e.Client.ContainerAttach(ctx, m.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, fmt.Errorf("cannot attach: %w", err)
	}
	g.conn = attached.HijackedResponse
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	ctx, g.gone = context.WithCancel(ctx)
	go g.read(ctx)
	return g, nil
}

// program opens the gauge. It has to run in any image.
func (p *Plan) program() (*os.File, error) {
	f, err := os.Open(p.Program)
	if err != nil {
		return nil, fmt.Errorf("cannot open this program: %w", err)
	}
	parsed, err := elf.NewFile(f)
	if err == nil {
		for _, part := range parsed.Progs {
			if part.Type == elf.PT_INTERP {
				err = errors.New("it needs a dynamic loader, which an image may lack; build it with CGO_ENABLED=0")
			}
		}
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("this program cannot be run in a container: %w", err)
	}
	return f, nil
}

// bring copies the program into the container.
func (g *gauged) bring(ctx context.Context, program *os.File) error {
	info, err := program.Stat()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		dir := strings.TrimPrefix(GaugeDir, "/")
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
		if err == nil {
			err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + "/gauge", Mode: 0o755, Size: info.Size()})
		}
		if err == nil {
			_, err = io.Copy(t, program)
		}
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	_, err = g.c.CopyToContainer(ctx, g.id, client.CopyToContainerOptions{DestinationPath: "/", Content: r})
	r.Close() // ends the writer, if it has not
	return err
}

// read takes the container's output apart into lines.
func (g *gauged) read(ctx context.Context) {
	defer close(g.lines)
	r, w := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(w, &g.stderr, g.conn.Reader)
		w.CloseWithError(err)
	}()
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(nil, gauge.MostReply)
	for s.Scan() {
		select {
		case g.lines <- bytes.Clone(s.Bytes()):
		case <-ctx.Done():
			return
		}
	}
}

// ask asks the gauge, whose answer is a stranger's.
func (g *gauged) ask(ctx context.Context, question ...string) (r gauge.Reply, err error) {
	_ = g.conn.Conn.SetWriteDeadline(time.Now().Add(answerTime))
	if _, err := fmt.Fprintln(g.conn.Conn, strings.Join(question, " ")); err != nil {
		return r, fmt.Errorf("cannot ask the gauge: %w", err)
	}
	select {
	case line, ok := <-g.lines:
		if !ok {
			return r, fmt.Errorf("the gauge does not run in the container%s", g.stderr.said())
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return r, fmt.Errorf("the gauge said what is no answer: %.80q", line)
		}
	case <-time.After(answerTime):
		return r, fmt.Errorf("the gauge did not answer within %s", answerTime)
	case <-ctx.Done():
		return r, ctx.Err()
	}
	if r.Error != "" {
		return r, fmt.Errorf("%.200s", plain(errors.New(r.Error)))
	}
	return r, nil
}

// end removes the container.
func (g *gauged) end(ctx context.Context) error {
	g.gone()
	if g.conn.Conn != nil {
		g.conn.Close()
	}
	return g.remove(ctx)
}

// cut keeps the beginning of what is written to it.
type cut struct{ bytes.Buffer }

func (c *cut) Write(b []byte) (int, error) {
	c.Buffer.Write(b[:min(len(b), max(0, 200-c.Len()))])
	return len(b), nil
}

func (c *cut) said() string {
	if s := strings.Join(strings.Fields(c.String()), " "); s != "" {
		return ": " + s
	}
	return ""
}
