package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/qmp"
)

// claim makes a standby the placement's guest. It returns nil when there is
// none, or none that works.
func (p *Provider) claim(ctx context.Context, pl kernel.Placement, s shape, placed []agent.Layer) *guest {
	if len(pl.NICs) == 0 {
		return nil
	}
	b := p.standbys.find(func(b *standby) bool { return b.nic == pl.NICs[0] })
	if b == nil || !p.standbys.remove(b) {
		return nil
	}
	if b.key != s.key || b.placement.Owner != pl.Owner || pl.NoTemplate {
		b.drop() // another kernel was chosen meanwhile; its tap is free now
		return nil
	}
	begin := time.Now()
	if err := p.become(ctx, b, pl, placed); err != nil {
		p.log.Warn("a prepared virtual machine cannot be used", "container", pl.ID, "err", err)
		b.endShare()
		b.drop()
		removeFiles(pl.RunDir)
		return nil
	}
	b.watch()
	p.log.Debug("a virtual machine was ready", "container", pl.ID, "pid", b.proc.PID, "took", time.Since(begin).Round(time.Millisecond))
	return b.guest
}

// become gives a standby what the placement has. On error the caller drops it.
func (p *Provider) become(ctx context.Context, b *standby, pl kernel.Placement, placed []agent.Layer) error {
	// First, so that a later daemon finds it whatever happens now.
	rec := record{ID: pl.ID, Hypervisor: *b.proc, Template: true}
	if err := rec.write(pl.RunDir); err != nil {
		return err
	}
	for _, name := range []string{agentSocket, shareSocket} {
		if err := os.Rename(filepath.Join(b.dir, name), filepath.Join(pl.RunDir, name)); err != nil {
			return err
		}
	}
	b.placement, b.layers = pl, placed
	newDisks, err := p.exchange(ctx, b, pl)
	if err != nil {
		return err
	}
	b.monitor.Close()
	os.RemoveAll(b.dir)
	if err := b.startShare(rec); err != nil {
		return err
	}
	if err := b.wake(ctx, resumeDeadline, newDisks); err != nil {
		return err
	}
	return b.shares()
}

// exchange gives the guest the container's log, and its disks, unless the
// container is new and the guest has what it is made of: then the writable disk
// that it has mounted becomes the container's.
func (p *Provider) exchange(ctx context.Context, b *standby, pl kernel.Placement) (newDisks bool, err error) {
	writable := filepath.Join(pl.StateDir, writableName)
	_, err = os.Lstat(writable)
	if b.stack != nil && slices.Equal(b.stack.layers, pl.Layers) && errors.Is(err, os.ErrNotExist) {
		err = os.Rename(b.stack.disk, writable)
	} else {
		newDisks = true
		err = p.exchangeDisks(ctx, b, pl.Layers, writable)
	}
	if err != nil {
		return newDisks, err
	}
	b.stack = nil
	return newDisks, hand(ctx, b, func(fds *fdTable) (string, error) {
		f, err := openLog(pl.Log)
		if err != nil {
			return "", err
		}
		return fds.add(f), nil
	}, b.monitor.SetLog)
}

func (p *Provider) exchangeDisks(ctx context.Context, b *standby, layers []kernel.Layer, writable string) error {
	if b.stack != nil {
		if err := b.ready(ctx, &agent.PrepareRequest{NIC: b.Link(0)}); err != nil {
			return err
		}
		os.Remove(b.stack.disk)
	}
	if err := p.ensureWritable(ctx, writable); err != nil {
		return err
	}
	return p.swapDisks(ctx, b, layers, writable)
}

// swapDisks hands the files of disks to a running hypervisor.
func (p *Provider) swapDisks(ctx context.Context, b *standby, layers []kernel.Layer, writable string) error {
	return hand(ctx, b, func(fds *fdTable) (d qmp.Disks, err error) {
		if d.ImageDriver, d.Image, err = imageDisk(fds, 0, layers); err != nil {
			return d, err
		}
		f, err := openWritable(writable)
		if err != nil {
			return d, err
		}
		d.Writable = fds.add(f)
		return d, nil
	}, b.monitor.Swap)
}

// hand passes the files that open adds to the hypervisor, and then uses them.
func hand[T any](ctx context.Context, b *standby, open func(*fdTable) (T, error), use func(context.Context, T) error) error {
	fds := fdTable{later: 1000 + b.handed}
	defer fds.close()
	what, err := open(&fds)
	if err != nil {
		return err
	}
	for i, f := range fds.files {
		if err := b.monitor.Hand(ctx, f, 3+fds.later+i); err != nil {
			return err
		}
	}
	b.handed += len(fds.files)
	return use(ctx, what)
}
