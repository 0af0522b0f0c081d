package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// run runs the plan's command once. A container that is taken for a service
// is not waited for: it is removed when it was measured.
func (e *Entrant) run(ctx context.Context, p *Plan, service bool) (_ Run, err error) {
	r := Run{why: map[string]string{}}
	config := &container.Config{Cmd: p.Command, Env: p.Env, AttachStdout: true, AttachStderr: true}
	host := &container.HostConfig{}
	if p.HTTP != nil {
		port := p.HTTP.port()
		config.ExposedPorts = network.PortSet{port: {}}
		host.PortBindings = network.PortMap{port: {{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}}
	}
	before := p.Host.cpuTimes()
	begun := time.Now()
	m, err := e.create(ctx, p, client.ContainerCreateOptions{Config: config, HostConfig: host})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.remove(ctx)) }()
	conn, err := e.Client.ContainerAttach(ctx, m.id, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return r, fmt.Errorf("cannot attach: %w", err)
	}
	defer conn.Close()
	output := make(chan time.Duration, 1)
	go func() {
		defer close(output)
		if _, err := conn.Reader.ReadByte(); err == nil {
			output <- time.Since(begun)
			_, _ = io.Copy(io.Discard, conn.Reader) // else a talkative command would block
		}
	}()
	if err := m.start(ctx); err != nil {
		return r, err
	}
	started := time.Now()
	r.Start = started.Sub(begun).Seconds()
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := e.Client.ContainerWait(wctx, m.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	w := watch{r: &r, started: started, result: ended}
	if err := e.follow(ctx, p, m.id, begun, before, service, &w); err != nil {
		return r, err
	}
	grace := time.Duration(0)
	if w.over { // what it printed may still be on its way
		grace = time.Second
	}
	if d, seen := await(output, grace); seen {
		r.Output = seconds(d)
	} else if p.HTTP == nil {
		r.why["output"] = e.silence(ctx, m.id)
	}
	return r, nil
}

// await takes what is on the channel already, or comes within the grace. A
// select of both would be a draw when the grace is none.
func await(c <-chan time.Duration, grace time.Duration) (d time.Duration, ok bool) {
	select {
	case d, ok = <-c:
		return d, ok
	default:
	}
	select {
	case d, ok = <-c:
	case <-time.After(grace):
	}
	return d, ok
}

// silence is why no output was seen: some engines' logs have what those who had
// attached did not get.
func (e *Entrant) silence(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	logs, err := e.Client.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "1"})
	if err != nil {
		return "nothing of it was seen"
	}
	defer logs.Close()
	if _, err := io.ReadFull(logs, make([]byte, 1)); err == nil {
		return "its output is in the log, but its engine did not give it to who had attached"
	}
	return "it printed nothing"
}

// follow goes with a started container to its end, or as far as the plan goes.
func (e *Entrant) follow(ctx context.Context, p *Plan, id string, begun time.Time, before map[key]float64, service bool, w *watch) error {
	r := w.r
	if p.HTTP != nil {
		if err := e.answer(ctx, p, id, begun, w); err != nil {
			return err
		}
	}
	if err := w.wait(ctx, p.Settle); err != nil {
		return err
	}
	if !w.over {
		if err := e.weigh(ctx, p, id, before, r); err != nil {
			r.why["memory"], r.why["cpu"] = plain(err), plain(err)
		}
		if p.HTTP == nil && !service {
			if err := w.wait(ctx, time.Until(w.started.Add(p.Limit))); err != nil {
				return err
			}
		}
	} else {
		r.why["memory"] = fmt.Sprintf("it ended within the %s after which memory is measured; a smaller --settle may catch it", p.Settle)
		r.why["cpu"] = r.why["memory"]
	}
	if e.Isolation == isolationVM && r.CPU == nil {
		r.why["prepared"] = "whether the virtual machine was made ahead is seen where CPU time is measured"
	}
	if !w.over && p.HTTP == nil {
		r.why["run"] = fmt.Sprintf("it had not ended by itself after %s: it was ended", p.Limit)
	}
	return ctx.Err()
}

// watch waits for a container's end.
type watch struct {
	r       *Run
	started time.Time
	result  client.ContainerWaitResult
	over    bool
}

// wait waits until the container has ended, and for d at most.
func (w *watch) wait(ctx context.Context, d time.Duration) error {
	if w.over {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case res := <-w.result.Result:
		if res.Error != nil {
			return errors.New(res.Error.Message)
		}
		w.over = true
		w.r.Run, w.r.ExitCode = seconds(time.Since(w.started)), &res.StatusCode
		return nil
	case err := <-w.result.Error:
		return fmt.Errorf("cannot wait for the container's end: %w", err)
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// weigh measures the container's processes on the host.
func (e *Entrant) weigh(ctx context.Context, p *Plan, id string, before map[key]float64, r *Run) error {
	f, err := e.processes(ctx, p.Host, id)
	if err != nil {
		return err
	}
	if e.Isolation == isolationVM {
		r.Memory = &f.memory
	} else {
		pss, err := p.Host.pss(f.list)
		if err != nil {
			return err
		}
		r.Memory = &pss
	}
	if f.list == nil {
		r.why["cpu"] = orElse(e.Elsewhere, "its hypervisor was not found among this machine's processes")
		return nil
	}
	var used float64
	for _, q := range f.list {
		ahead := before[key{q.pid, q.began}]
		used += q.cpu - ahead
		r.Ahead += ahead
	}
	if f.hypervisor != nil {
		_, r.Prepared = before[key{f.hypervisor.pid, f.hypervisor.began}]
	}
	r.CPU, r.Processes = &used, len(f.list)
	return nil
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
