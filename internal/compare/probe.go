package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/abode-run/abode/internal/compare/gauge"
)

// probeTime is what the probe may take: the first virtual machine of a kind
// boots, and its template is made.
const probeTime = 3 * time.Minute

// probe runs the image's own cat in place of its command: it prints what the
// kernel says of it, and then waits for input, so that the host can look at it.
// It also makes the engine warm: the runs that count come after it.
func (e *Entrant) probe(ctx context.Context, p *Plan) (f Facts, gaps []Missing, err error) {
	config := &container.Config{
		Entrypoint: []string{"cat"}, Cmd: append(append([]string{}, probeFiles...), "-"),
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}
	m, err := e.create(ctx, p, client.ContainerCreateOptions{Config: config, HostConfig: &container.HostConfig{NetworkMode: "none"}})
	if err != nil {
		return f, nil, err
	}
	defer func() { err = errors.Join(err, m.remove(ctx)) }()
	conn, err := e.Client.ContainerAttach(ctx, m.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return f, nil, fmt.Errorf("cannot attach: %w", err)
	}
	defer conn.Close()
	if err := m.start(ctx); err != nil {
		return f, nil, err
	}
	stop := context.AfterFunc(ctx, conn.Close) // ends the reading
	defer stop()
	_ = conn.Conn.SetReadDeadline(time.Now().Add(probeTime))
	var out probeOutput
	_, err = stdcopy.StdCopy(&out, io.Discard, conn.Reader)
	if ctx.Err() != nil {
		return f, nil, ctx.Err()
	}
	in, complete := parseProbe(out.String())
	if !complete {
		return f, nil, fmt.Errorf("the image's cat did not tell all of %s (%w)", strings.Join(probeFiles, ", "), orEOF(err))
	}
	f, gaps = e.look(ctx, p, m.id, &in)
	return f, gaps, nil
}

// probeGauged has the gauge read the files, as an image need not have a cat.
func (e *Entrant) probeGauged(ctx context.Context, p *Plan) (f Facts, gaps []Missing, err error) {
	g, err := e.gauge(ctx, p, "none")
	if err != nil {
		return f, nil, err
	}
	defer func() { err = errors.Join(err, g.end(ctx)) }()
	r, err := g.ask(ctx, append([]string{gauge.Files}, probeFiles...)...)
	if err != nil {
		return f, nil, err
	}
	in, complete := parseProbe(r.Text)
	if !complete {
		return f, nil, fmt.Errorf("the gauge did not tell all of %s", strings.Join(probeFiles, ", "))
	}
	f, gaps = e.look(ctx, p, g.id, &in)
	return f, gaps, nil
}

// look adds what this machine sees of the container from outside to what was
// said inside.
func (e *Entrant) look(ctx context.Context, p *Plan, id string, in *inside) (f Facts, gaps []Missing) {
	f = in.Facts
	if e.Elsewhere == "" {
		switch ours := p.Host.bootID(); {
		case ours == "" || in.bootID == "":
		case ours == in.bootID:
			f.Kernel = kernelShared
		default:
			f.Kernel = kernelOwn
		}
	}
	seen, err := e.processes(ctx, p.Host, id)
	if err != nil {
		return f, []Missing{{"namespaces, system calls", plain(err)}}
	}
	gap := func(what string, err error) {
		if err != nil {
			gaps = append(gaps, Missing{what, plain(err)})
		}
	}
	if e.Isolation == isolationVM {
		if seen.hypervisor == nil {
			gap("hypervisor", errors.New(orElse(e.Elsewhere, "it was not found among this machine's processes")))
			return f, gaps
		}
		if f.Hypervisor, err = p.Host.user(seen.hypervisor.pid); err == nil {
			f.HypervisorCalls, err = p.Host.calls(seen.hypervisor.pid)
		}
		gap("the hypervisor's system calls", err)
		return f, gaps
	}
	f.Namespaces, err = p.Host.namespaces(seen.first)
	gap("own namespaces", err)
	f.Calls, err = p.Host.calls(seen.first)
	gap("host's system calls", err)
	return f, gaps
}

// probeOutput takes output until it is complete, or too much.
type probeOutput struct{ bytes.Buffer }

var errComplete = errors.New("complete")

func (o *probeOutput) Write(b []byte) (int, error) {
	if o.Len()+len(b) > 64<<10 {
		return 0, errors.New("it prints more than these files hold")
	}
	o.Buffer.Write(b)
	if _, complete := parseProbe(o.String()); complete && bytes.HasSuffix(o.Bytes(), []byte("\n")) {
		return len(b), errComplete
	}
	return len(b), nil
}

func orEOF(err error) error {
	if err == nil {
		return errors.New("it ended")
	}
	return err
}
