package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/cleanup"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/qmp"
)

// A standby is a guest that was started before there was a container for it,
// with an image disk and a writable disk of its own, on which a container has
// lived and ended. Under emulation that is most of a start: QEMU translates
// what a guest executes when it executes it first, and keeps that for no other
// guest. Place exchanges the disks and the log.
type standby struct {
	*guest
	monitor *qmp.Conn
	key     string // of its shape
	nic     string
	expire  *time.Timer
}

// standbyIdle is how long a standby waits for a container.
const standbyIdle = 10 * time.Minute

// standbys are those that nobody has claimed.
type standbys struct {
	mu     sync.Mutex
	ready  []*standby
	closed bool
}

// Ahead says what a guest to come will be like.
type Ahead struct {
	ID     string // of no container
	NIC    string // a tap, which the container will have
	CPUs   float64
	Memory int64
	Owner  int // as a Placement's: the container's has to be the same
	// Rehearsal is a container that ends at once. Its root file system, log and
	// the names of its links are set here, and Program is the only file in it.
	Rehearsal *agent.CreateRequest
}

// Prepare makes a standby: a Place of the same shape with the interface NIC
// takes it. It runs until then, or standbyIdle, or Forget.
func (p *Provider) Prepare(ctx context.Context, a Ahead) error {
	s, err := p.shape(kernel.Placement{CPUs: a.CPUs, Memory: a.Memory})
	if err != nil {
		return err
	}
	var cu cleanup.Stack
	defer cu.Clean()
	dir := filepath.Join(p.cfg.Run, a.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("cannot prepare a virtual machine: %w", err)
	}
	cu.Add(func() { os.RemoveAll(dir) })
	layer, err := p.rehearsalLayer(ctx)
	if err != nil {
		return err
	}
	if err := p.CreateWritable(ctx, dir, a.Owner); err != nil {
		return err
	}
	tpl, err := p.template(ctx, s)
	if err != nil {
		return err
	}
	// At the end of the disk, where no layer of a container will be: the
	// guest's kernel keeps the partition.
	lead := imageSize - layer.Size
	pl := kernel.Placement{ID: a.ID, StateDir: dir, RunDir: dir, Layers: []kernel.Layer{layer}, Owner: a.Owner, NICs: []string{a.NIC}}
	placed, err := placeLayers(lead, pl.Layers)
	if err != nil {
		tpl.close()
		return err
	}
	g, monitor, err := p.begin(ctx, pl, s, placed, lead, tpl, resumeDeadline)
	if err != nil {
		return err
	}
	b := &standby{guest: g, monitor: monitor, key: s.key, nic: a.NIC}
	cu.Release()
	if err := b.rehearse(ctx, a.Rehearsal); err != nil {
		b.drop()
		return fmt.Errorf("cannot prepare a virtual machine: %w", err)
	}
	return p.standbys.add(b)
}

// rehearse runs a container in the guest and readies it for another.
func (b *standby) rehearse(ctx context.Context, req *agent.CreateRequest) error {
	ctx, cancel := context.WithTimeout(ctx, resumeDeadline)
	defer cancel()
	run := *req
	run.Rootfs, run.Log = b.Rootfs(), b.Log()
	for i := range run.Links {
		run.Links[i].Name = b.Link(i)
	}
	id := agent.ProcessRequest{ID: run.ID}
	if err := call(ctx, b.proc, b.client, agent.MethodCreate, run, nil); err != nil {
		return err
	}
	output, err := b.client.Stream(ctx, agent.MethodAttach, agent.AttachRequest{ID: run.ID, Stdout: true, Stderr: true}, nil)
	if err != nil {
		return err
	}
	defer output.Close()
	var exit agent.Exit
	for _, step := range []struct {
		method string
		req    any
		resp   any
	}{
		{agent.MethodStart, id, nil},
		{agent.MethodWait, id, &exit},
		{agent.MethodDelete, agent.IDRequest{ID: run.ID}, nil},
	} {
		if err := call(ctx, b.proc, b.client, step.method, step.req, step.resp); err != nil {
			return err
		}
	}
	if exit.Code != 0 {
		return fmt.Errorf("the rehearsal ended with code %d", exit.Code)
	}
	if _, err := io.Copy(io.Discard, output); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// The interface comes back when the kernel has taken its namespace down.
	for {
		err := call(ctx, b.proc, b.client, agent.MethodPrepare, agent.PrepareRequest{NIC: b.Link(0)}, nil)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// add makes a standby available.
func (t *standbys) add(b *standby) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		b.drop()
		return errors.New("cannot prepare a virtual machine: the engine ends")
	}
	t.ready = append(t.ready, b)
	b.expire = time.AfterFunc(standbyIdle, func() {
		if t.remove(b) {
			b.drop()
		}
	})
	go func() {
		<-b.proc.gone
		if t.remove(b) {
			b.drop()
		}
	}()
	return nil
}

// remove takes a standby out, which one caller alone does.
func (t *standbys) remove(b *standby) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.ready, b)
	if i < 0 {
		return false
	}
	t.ready = slices.Delete(t.ready, i, i+1)
	b.expire.Stop()
	return true
}

// find returns the first that fits, or nil.
func (t *standbys) find(fits func(*standby) bool) *standby {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.IndexFunc(t.ready, fits); i >= 0 {
		return t.ready[i]
	}
	return nil
}

// drop ends a standby and leaves nothing of it.
func (b *standby) drop() {
	b.client.Close()
	b.monitor.Close()
	b.proc.end(context.Background(), 0)
	b.notes.close()
	os.RemoveAll(b.placement.RunDir)
}

// Forget ends the standby that has nic (empty: all).
func (p *Provider) Forget(nic string) {
	for {
		b := p.standbys.find(func(b *standby) bool { return nic == "" || b.nic == nic })
		if b == nil {
			return
		}
		if p.standbys.remove(b) {
			b.drop()
		}
	}
}

// CleanStandbys ends what an earlier daemon has prepared. It is called before
// the first Prepare.
func (p *Provider) CleanStandbys() {
	entries, _ := os.ReadDir(p.cfg.Run)
	for _, e := range entries {
		p.cleanUp(kernel.Placement{ID: e.Name(), RunDir: filepath.Join(p.cfg.Run, e.Name())})
		os.RemoveAll(filepath.Join(p.cfg.Run, e.Name()))
	}
}

// CloseStandbys ends all, for good.
func (p *Provider) CloseStandbys() {
	p.standbys.mu.Lock()
	p.standbys.closed = true
	p.standbys.mu.Unlock()
	p.Forget("")
}

// claim makes a standby the placement's guest. It returns nil when there is
// none, or none that works.
func (p *Provider) claim(ctx context.Context, pl kernel.Placement, s shape, placed []agent.Layer) *guest {
	if len(pl.NICs) == 0 || pl.NoTemplate {
		return nil
	}
	b := p.standbys.find(func(b *standby) bool { return b.nic == pl.NICs[0] && b.key == s.key && b.placement.Owner == pl.Owner })
	if b == nil || !p.standbys.remove(b) {
		return nil
	}
	begin := time.Now()
	g, err := p.become(ctx, b, pl, placed)
	if err != nil {
		p.log.Warn("a prepared virtual machine cannot be used", "container", pl.ID, "err", err)
		b.drop()
		removeFiles(pl.RunDir)
		return nil
	}
	p.log.Debug("a virtual machine was ready", "container", pl.ID, "pid", b.proc.PID, "took", time.Since(begin).Round(time.Millisecond))
	return g
}

// become gives a standby what the placement has. On error the caller drops it.
func (p *Provider) become(ctx context.Context, b *standby, pl kernel.Placement, placed []agent.Layer) (_ *guest, err error) {
	// First, so that a later daemon finds it whatever happens now.
	rec := record{ID: pl.ID, Hypervisor: *b.proc, Template: true}
	if err := rec.write(pl.RunDir); err != nil {
		return nil, err
	}
	for _, name := range []string{agentSocket, shareSocket} {
		if err := os.Rename(filepath.Join(b.placement.RunDir, name), filepath.Join(pl.RunDir, name)); err != nil {
			return nil, err
		}
	}
	b.moved.Store(&pl.RunDir)
	if err := p.swap(ctx, b.monitor, pl); err != nil {
		return nil, err
	}
	b.monitor.Close()
	os.RemoveAll(b.placement.RunDir)
	g := newGuest(p, pl, placed, b.proc, b.notes)
	g.client = b.client
	if len(pl.Shares) > 0 {
		if g.share, err = startShare(p.cfg.AgentBinary, pl, b.notes.share); err != nil {
			return nil, err
		}
		rec.Share = g.share
		if err = rec.write(pl.RunDir); err == nil {
			err = g.wake(ctx, resumeDeadline)
		}
		if err == nil && !g.share.alive() {
			err = fmt.Errorf("its share helper ended: %s", noteText(b.notes.share, 1000))
		}
		if err != nil {
			g.share.end(context.Background(), 0)
			return nil, err
		}
	} else if err := g.wake(ctx, resumeDeadline); err != nil {
		return nil, err
	}
	g.watch()
	return g, nil
}

// swap hands the placement's files to a running hypervisor.
func (p *Provider) swap(ctx context.Context, monitor *qmp.Conn, pl kernel.Placement) error {
	m := &machine{fds: fdTable{later: 1000}}
	defer m.fds.close()
	if err := p.openDisks(m, pl, 0); err != nil {
		return err
	}
	d := qmp.Disks{ImageDriver: m.image.driver, Image: m.image.file, Writable: m.fds.add(m.writable), Log: m.fds.add(m.log)}
	for i, f := range m.fds.files {
		if err := monitor.Hand(ctx, f, 3+m.fds.later+i); err != nil {
			return err
		}
	}
	return monitor.Swap(ctx, d)
}
