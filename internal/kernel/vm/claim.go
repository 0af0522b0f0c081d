package vm

import (
	"context"
	"os"
	"path/filepath"
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
	if err := p.swap(ctx, b.monitor, pl); err != nil {
		return err
	}
	b.monitor.Close()
	os.RemoveAll(b.dir)
	if err := b.startShare(rec); err != nil {
		return err
	}
	if err := b.wake(ctx, resumeDeadline); err != nil {
		return err
	}
	return b.shares()
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
