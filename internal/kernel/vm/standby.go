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
// guest. The next container is likely to be of the image that the last one was
// of, so the guest has that one's layers mounted, and over them a writable disk
// that can become the container's. Place exchanges the log, and for another
// container the disks.
type standby struct {
	*guest
	monitor *qmp.Conn
	dir     string // its own, until it has become a container's
	key     string // of its shape
	nic     string
	expire  *time.Timer
	handed  int // files, since it was started
	stack   *stack
}

// stack is what the guest has mounted for a container to come.
type stack struct {
	layers []kernel.Layer
	disk   string // the file of the writable disk
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
	// Foundation is probably the container's, with Layers of its image; its root
	// file system is set here. nil: not known.
	Foundation *agent.Foundation
	Layers     []kernel.Layer
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
	if err := p.createWritable(ctx, filepath.Join(dir, writableName)); err != nil {
		return err
	}
	tpl, err := p.template(ctx, s)
	if err != nil {
		return err
	}
	// At the end of the disk, where no layer of a container will be.
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
	b := &standby{guest: g, monitor: monitor, dir: dir, key: s.key, nic: a.NIC}
	cu.Release()
	ready := agent.PrepareRequest{NIC: b.Link(0)}
	if err = b.rehearse(ctx, a.Rehearsal); err == nil && a.Foundation != nil {
		ready.Foundation = a.Foundation
		ready.Foundation.Rootfs, err = p.lay(ctx, b, a)
	}
	if err == nil {
		err = b.ready(ctx, &ready)
	}
	if err != nil {
		b.drop()
		return fmt.Errorf("cannot prepare a virtual machine: %w", err)
	}
	return p.standbys.add(b)
}

// lay gives the guest the disks of a container to come.
func (p *Provider) lay(ctx context.Context, b *standby, a Ahead) (agent.Rootfs, error) {
	placed, err := placeLayers(0, a.Layers)
	if err != nil {
		return agent.Rootfs{}, err
	}
	b.stack = &stack{layers: a.Layers, disk: filepath.Join(p.cfg.Root, "vm", aheadPrefix+a.ID+".ext4")}
	if err := p.createWritable(ctx, b.stack.disk); err != nil {
		return agent.Rootfs{}, err
	}
	if err := p.swapDisks(ctx, b, a.Layers, b.stack.disk); err != nil {
		return agent.Rootfs{}, err
	}
	if err := b.wake(ctx, resumeDeadline, true); err != nil {
		return agent.Rootfs{}, err
	}
	return rootfs(placed), nil
}

// aheadPrefix begins the names of disks that no container has yet.
const aheadPrefix = "ahead-"

// rehearse runs a container in the guest.
func (b *standby) rehearse(ctx context.Context, req *agent.CreateRequest) error {
	ctx, cancel := context.WithTimeout(ctx, resumeDeadline)
	defer cancel()
	run := *req
	run.Rootfs, run.Log = b.Rootfs(), b.Log()
	for i := range run.Links {
		run.Links[i].Name = b.Link(i)
	}
	id := agent.ProcessRequest{ID: run.ID}
	output, err := b.client.Stream(ctx, agent.MethodStart, &agent.StartRequest{
		ProcessRequest: id, Create: &run, Attach: &agent.AttachStreams{Stdout: true, Stderr: true},
	}, nil)
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
	return nil
}

// ready prepares the first process of a container to come.
func (b *standby) ready(ctx context.Context, req *agent.PrepareRequest) error {
	ctx, cancel := context.WithTimeout(ctx, resumeDeadline)
	defer cancel()
	// The interface comes back when the kernel has taken the rehearsal's
	// namespace down.
	for {
		err := call(ctx, b.proc, b.client, agent.MethodPrepare, req, nil)
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
	os.RemoveAll(b.dir)
	if b.stack != nil {
		os.Remove(b.stack.disk)
	}
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
	disks, _ := filepath.Glob(filepath.Join(p.cfg.Root, "vm", aheadPrefix+"*"))
	for _, d := range disks {
		os.Remove(d)
	}
}

// CloseStandbys ends all, for good.
func (p *Provider) CloseStandbys() {
	p.standbys.mu.Lock()
	p.standbys.closed = true
	p.standbys.mu.Unlock()
	p.Forget("")
}
