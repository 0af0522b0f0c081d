package vm

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// recoverDeadline is how long a guest of an earlier daemon has to answer.
const recoverDeadline = 20 * time.Second

// Recover adopts the guest that an earlier daemon placed.
func (p *Provider) Recover(ctx context.Context, pl kernel.Placement) (kernel.Kernel, error) {
	g, err := p.adopt(ctx, pl)
	if err == nil {
		return g, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // it is not known to be gone
	}
	p.cleanUp(pl)
	return nil, fmt.Errorf("%w: %w", kernel.ErrGone, err)
}

func (p *Provider) adopt(ctx context.Context, pl kernel.Placement) (*guest, error) {
	rec, err := readRecord(pl.RunDir, pl.ID)
	if err != nil {
		return nil, fmt.Errorf("cannot find the virtual machine: %w", err)
	}
	placed, err := placeLayers(0, pl.Layers)
	if err != nil {
		return nil, err
	}
	proc, err := findProcess(rec.Hypervisor.PID, rec.Hypervisor.Start)
	if err != nil {
		return nil, fmt.Errorf("the hypervisor has ended: %w", err)
	}
	n, err := adoptNotes(proc.PID)
	if err != nil {
		return nil, err
	}
	g := newGuest(p, pl, placed, proc, n)
	if rec.Share != nil {
		if g.share, err = findProcess(rec.Share.PID, rec.Share.Start); err != nil {
			p.log.Warn("a virtual machine's shares are gone", "container", pl.ID, "err", err)
			g.share = nil
		}
	}
	actx, cancel := context.WithTimeout(ctx, recoverDeadline)
	defer cancel()
	if err := call(actx, proc, g.client, agent.MethodInfo, nil, new(agent.InfoResponse)); err != nil {
		g.client.Close()
		err = fmt.Errorf("the virtual machine does not answer: %w%s", err, n.quote())
		n.close()
		return nil, err
	}
	g.watch()
	return g, nil
}

// adoptNotes opens a hypervisor's standard error and the guest's console; what
// the share helper said is not found again.
func adoptNotes(pid int) (n notes, err error) {
	fd := "/proc/" + strconv.Itoa(pid) + "/fd/"
	if n.console, err = os.Open(fd + "1"); err == nil {
		n.stderr, err = os.Open(fd + "2")
	}
	if err != nil {
		n.close()
		return n, fmt.Errorf("cannot look at the hypervisor: %w", err)
	}
	return n, nil
}

// cleanUp ends whatever is left of a guest, also of one whose daemon was
// killed before it could record it.
func (p *Provider) cleanUp(pl kernel.Placement) {
	var left []*process
	if rec, err := readRecord(pl.RunDir, pl.ID); err == nil {
		for _, r := range []*process{&rec.Hypervisor, rec.Share} {
			if r == nil {
				continue
			}
			if proc, err := findProcess(r.PID, r.Start); err == nil {
				left = append(left, proc)
			}
		}
	}
	for _, arg := range []string{"guest=" + processName(pl.ID), shareName(pl.ID)} {
		for _, pid := range findByName(arg) {
			start, err := startTime(pid)
			if err != nil {
				continue
			}
			if proc, err := findProcess(pid, start); err == nil {
				left = append(left, proc)
			}
		}
	}
	for _, proc := range left {
		proc.end(context.Background(), 0)
	}
	removeFiles(pl.RunDir)
}
