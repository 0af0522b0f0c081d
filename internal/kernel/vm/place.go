package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/qmp"
	"github.com/containerd/errdefs"
)

// processName is the argument by which a guest's hypervisor is known.
func processName(id string) string { return "abode-" + id }

// Place starts a guest, from a template unless the placement or the machine is
// against it, and wakes it. A guest that does not begin from its template is
// booted instead, once, and the template is made anew by the next that needs it.
func (p *Provider) Place(ctx context.Context, pl kernel.Placement) (kernel.Kernel, error) {
	if pl.Owner <= 0 {
		return nil, fmt.Errorf("cannot run a hypervisor as user %d: it needs an unprivileged one: %w", pl.Owner, errdefs.ErrInvalidArgument)
	}
	if len(pl.NICs) > 1 {
		return nil, fmt.Errorf("a virtual machine takes one network interface, not %d: %w", len(pl.NICs), errdefs.ErrNotImplemented)
	}
	s, err := p.shape(pl)
	if err != nil {
		return nil, err
	}
	placed, err := placeLayers(0, pl.Layers)
	if err != nil {
		return nil, err
	}
	log := p.log.With("container", pl.ID)
	if g := p.claim(ctx, pl, s, placed); g != nil {
		return g, nil
	}
	if err := p.ensureWritable(ctx, filepath.Join(pl.StateDir, writableName)); err != nil {
		return nil, err
	}
	if !pl.NoTemplate && !p.templateFails(s) {
		g, err := p.resume(ctx, pl, s, placed)
		if !worthAnotherTry(ctx, err) {
			return g, err
		}
		log.Warn("a virtual machine did not start from a template; booting it", "err", err)
		p.discardTemplate(s)
	}
	g, err := p.launch(ctx, pl, s, placed, nil, bootDeadline)
	if !worthAnotherTry(ctx, err) {
		return g, err
	}
	log.Warn("a virtual machine did not boot; trying once more", "err", err)
	return p.launch(ctx, pl, s, placed, nil, bootDeadline)
}

// errNoGuest says that a hypervisor was started and its guest did not come up,
// in contrast to whatever else may be wrong with a placement.
var errNoGuest = errors.New("the virtual machine did not come up")

func worthAnotherTry(ctx context.Context, err error) bool {
	return errors.Is(err, errNoGuest) && ctx.Err() == nil
}

// resume starts a guest from the shape's template.
func (p *Provider) resume(ctx context.Context, pl kernel.Placement, s shape, placed []agent.Layer) (kernel.Kernel, error) {
	tpl, err := p.template(ctx, s)
	if err != nil {
		return nil, err
	}
	return p.launch(ctx, pl, s, placed, tpl, resumeDeadline)
}

// launch starts one hypervisor and wakes its guest. It closes tpl. On error
// nothing is left.
func (p *Provider) launch(ctx context.Context, pl kernel.Placement, s shape, placed []agent.Layer, tpl *template, deadline time.Duration) (kernel.Kernel, error) {
	g, monitor, err := p.begin(ctx, pl, s, placed, 0, tpl, deadline)
	if err != nil {
		return nil, err
	}
	if monitor != nil {
		monitor.Close()
	}
	g.watch()
	return g, nil
}

// begin is launch for a guest that nobody watches yet, with its monitor when it
// came from a template. lead is where its layers begin on the image disk.
func (p *Provider) begin(ctx context.Context, pl kernel.Placement, s shape, placed []agent.Layer, lead int64, tpl *template, deadline time.Duration) (*guest, *qmp.Conn, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	m := &machine{shape: s, name: processName(pl.ID), owner: pl.Owner, runDir: pl.RunDir}
	cu.Add(func() { m.fds.close() })
	if tpl != nil {
		m.memory, m.incoming = tpl.memory, tpl.state
	} else {
		m.tscKHz = p.bootKHz(s)
	}
	if err := p.openFiles(m, pl, lead); err != nil {
		return nil, nil, err
	}
	cu.Add(func() { removeFiles(pl.RunDir) })
	var monitor *qmp.Conn
	if tpl != nil {
		var err error
		if monitor, m.monitor, err = qmp.Pair(); err != nil {
			return nil, nil, err
		}
		cu.Add(func() { monitor.Close() })
	}
	begin := time.Now()
	proc, notes, err := m.start()
	if err != nil {
		return nil, nil, err
	}
	cu.Add(notes.close)
	cu.Add(func() { proc.end(context.Background(), 0) })
	rec := record{ID: pl.ID, Hypervisor: *proc, Template: tpl != nil}
	if err := rec.write(pl.RunDir); err != nil {
		return nil, nil, err
	}
	g := newGuest(p, pl, placed, proc, notes)
	cu.Add(func() { g.client.Close() })
	cu.Add(g.endShare)
	if err := g.startShare(rec); err != nil {
		return nil, nil, err
	}
	if tpl != nil {
		if err := load(ctx, monitor, m.incomingFD); err != nil {
			return nil, nil, fmt.Errorf("%w: %w%s", errNoGuest, err, notes.quote())
		}
	}
	if err := g.wake(ctx, deadline, true); err != nil {
		return nil, nil, fmt.Errorf("%w: %w%s", errNoGuest, err, notes.quote())
	}
	if err := g.shares(); err != nil {
		return nil, nil, err
	}
	p.log.Debug("a virtual machine is awake", "container", pl.ID, "pid", proc.PID, "template", tpl != nil, "took", time.Since(begin).Round(time.Millisecond))
	cu.Release()
	return g, monitor, nil
}

// load makes the hypervisor begin with its template.
func load(ctx context.Context, monitor *qmp.Conn, fd string) error {
	ctx, cancel := context.WithTimeout(ctx, resumeDeadline)
	defer cancel()
	return monitor.Load(ctx, fd)
}

// openFiles opens what the hypervisor is handed. What it opened before an
// error is closed with m.fds or here.
func (p *Provider) openFiles(m *machine, pl kernel.Placement, lead int64) (err error) {
	defer func() {
		if err != nil {
			for _, f := range []*os.File{m.memory, m.incoming, m.writable, m.log} {
				if f != nil {
					f.Close()
				}
			}
		}
	}()
	if err := p.openDisks(m, pl, lead); err != nil {
		return err
	}
	if len(pl.NICs) == 0 {
		m.tap, err = deadTap()
	} else {
		m.tap, err = openTap(pl.NICs[0])
	}
	return err
}

// openDisks opens the disks and the log. The image is in m.fds.
func (p *Provider) openDisks(m *machine, pl kernel.Placement, lead int64) (err error) {
	if m.image.driver, m.image.file, err = imageDisk(&m.fds, lead, pl.Layers); err != nil {
		return err
	}
	if m.writable, err = openWritable(filepath.Join(pl.StateDir, writableName)); err != nil {
		return err
	}
	m.log, err = openLog(pl.Log)
	return err
}

func openWritable(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the writable disk: %w", err)
	}
	return f, nil
}

func openLog(file string) (*os.File, error) {
	if file == "" {
		file = os.DevNull
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the output log: %w", err)
	}
	return f, nil
}

// wake gives the guest its entropy, its clock and its name, which also says
// that its agent answers. newDisks is said after an exchange of the disks, also
// by a template's resume.
func (g *guest) wake(ctx context.Context, deadline time.Duration, newDisks bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("nothing was heard for %v", deadline))
	defer cancel()
	entropy, err := randomness(64)
	if err != nil {
		return err
	}
	id := sha256.Sum256([]byte(g.placement.ID))
	req := agent.WakeRequest{Entropy: entropy, Time: time.Now(), MachineID: hex.EncodeToString(id[:16]), NewDisks: newDisks}
	err = call(ctx, g.proc, g.client, agent.MethodWake, req, nil)
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return err
}
