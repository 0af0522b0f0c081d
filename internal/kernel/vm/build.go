package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/kernel/vm/qmp"
	"golang.org/x/sys/unix"
)

// Deadlines. Under emulation on a busy machine a boot takes 2 to 10 s, and one
// that hangs hangs for good.
const (
	bootDeadline   = 60 * time.Second
	resumeDeadline = 20 * time.Second
	saveDeadline   = 30 * time.Second
	// settleTime is what a guest gets to become quiet before it is saved.
	settleTime = 100 * time.Millisecond
)

// buildTemplate boots a guest of the shape, saves it when its agent waits for
// work, and publishes it.
func (p *Provider) buildTemplate(ctx context.Context, s shape, dir, key string) (*template, error) {
	p.log.Info("preparing a VM template (once per kernel and size)", "kernel", s.kernel.Name, "cpus", s.cpus, "memory-mib", s.memory>>20, "accelerator", s.accel.Name)
	begin := time.Now()
	var tpl *template
	var err error
	for attempt := range 2 {
		if tpl, err = p.bootAndSave(ctx, s, dir); err == nil || ctx.Err() != nil {
			break
		}
		p.log.Warn("a VM template could not be made", "attempt", attempt+1, "err", err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a VM template: %w: %w", errNoGuest, err)
	}
	booted := time.Since(begin)
	if err := writeTemplate(dir, key, s.kernel.Name, tpl); err != nil {
		p.log.Warn("a VM template works for this daemon only", "err", err)
	}
	p.log.Info("the VM template is ready", "booted", booted.Round(time.Millisecond), "saved", (time.Since(begin) - booted).Round(time.Millisecond))
	return tpl, nil
}

func (p *Provider) bootAndSave(ctx context.Context, s shape, dir string) (*template, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	// The hypervisor dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runDir, err := os.MkdirTemp(dir, ".tmp-boot-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for sockets: %w", err)
	}
	cu.Add(func() { os.RemoveAll(runDir) })
	m := &machine{shape: s, name: "abode-template-" + s.key, owner: p.cfg.TemplateOwner, runDir: runDir, shared: true, tscKHz: p.bootKHz(s)}
	cu.Add(func() { m.fds.close() })
	if m.image.driver, m.image.file, err = imageDisk(&m.fds, 0, nil); err != nil {
		return nil, err
	}
	if m.writable, err = newMemory("writable", writableSize); err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		m.writable.Close()
		return nil, err
	}
	m.log = null
	if m.tap, err = deadTap(); err != nil {
		return nil, err
	}
	memory, err := newMemory("template-memory", s.memory)
	if err != nil {
		return nil, err
	}
	cu.Add(func() { memory.Close() })
	if m.memory, err = reopen(memory, os.O_RDWR); err != nil {
		return nil, err
	}
	monitor, theirs, err := qmp.Pair()
	if err != nil {
		return nil, err
	}
	defer monitor.Close()
	m.monitor = theirs
	proc, notes, err := m.start()
	if err != nil {
		return nil, err
	}
	defer notes.close()
	cu.Add(func() { proc.end(context.Background(), 0) })
	bootCtx, cancel := context.WithTimeout(ctx, bootDeadline)
	defer cancel()
	client := newClient(func() string { return runDir })
	defer client.Close()
	if err := call(bootCtx, proc, client, agent.MethodInfo, nil, new(agent.InfoResponse)); err != nil {
		return nil, fmt.Errorf("a guest did not start within %v: %w%s", bootDeadline, err, notes.quote())
	}
	client.Close()
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	state, err := newMemory("template-state", 0)
	if err != nil {
		return nil, err
	}
	cu.Add(func() { state.Close() })
	saveCtx, cancel := context.WithTimeout(ctx, saveDeadline)
	defer cancel()
	if err := save(saveCtx, monitor, state); err != nil {
		return nil, fmt.Errorf("%w%s", err, notes.quote())
	}
	// Its memory can be sealed once nobody maps it for writing.
	proc.end(context.Background(), 0)
	if err := punchZeroes(memory); err != nil {
		return nil, fmt.Errorf("cannot trim a template: %w", err)
	}
	if err := errors.Join(readOnly(memory), readOnly(state)); err != nil {
		return nil, err
	}
	cu.Release()
	m.fds.close()
	os.RemoveAll(runDir)
	return &template{memory, state}, nil
}

// save stops the guest and writes its devices' state.
func save(ctx context.Context, monitor *qmp.Conn, state *os.File) error {
	w, err := reopen(state, os.O_RDWR)
	if err != nil {
		return err
	}
	defer w.Close()
	return monitor.Save(ctx, w)
}

// newClient returns a client of the agent behind a run directory's socket.
func newClient(runDir func() string) *agent.Client {
	return agent.NewClient(func(ctx context.Context) (net.Conn, error) { return dialUnix(ctx, runDir(), agentSocket) })
}

var errHypervisorEnded = errors.New("the hypervisor ended")

// call is a call that fails when the hypervisor ends.
func call(ctx context.Context, proc *process, c *agent.Client, method string, req, resp any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-proc.gone:
			cancel(errHypervisorEnded)
		case <-ctx.Done():
		}
	}()
	err := c.Call(ctx, method, req, resp)
	if err != nil && errors.Is(context.Cause(ctx), errHypervisorEnded) {
		return errHypervisorEnded
	}
	return err
}

// randomness returns n bytes from the host's generator.
func randomness(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := unix.Getrandom(b, 0); err != nil {
		return nil, fmt.Errorf("cannot get entropy: %w", err)
	}
	return b, nil
}
