package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/abode-run/abode/internal/kernel"
)

// shareName is what a guest's share helper has as argument zero, by which it
// is known.
func shareName(id string) string { return "abode-share-" + id }

// startShare starts the process that serves a guest's shares: it connects to
// the hypervisor's share socket, sees the shared directories and nothing else,
// and ends when the hypervisor does.
func startShare(agentBinary string, pl kernel.Placement, stderr *os.File) (*process, error) {
	// The socket is named relative to the process's directory, because its
	// whole path may be longer than an address can be.
	args := []string{"share", "--socket", "./" + shareSocket}
	for _, s := range pl.Shares {
		spec := s.Tag + "=" + s.Path
		if s.ReadOnly {
			spec += ":ro"
		}
		args = append(args, "--share", spec)
	}
	cmd := exec.Command(agentBinary, args...)
	cmd.Args[0] = shareName(pl.ID)
	cmd.Dir = pl.RunDir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = stderr, stderr
	proc, err := startDetached(cmd)
	if err != nil {
		return nil, fmt.Errorf("cannot share directories with the virtual machine: %w", err)
	}
	return proc, nil
}

// startShare starts the guest's share helper, if it has shares, and records it.
func (g *guest) startShare(rec record) (err error) {
	if len(g.placement.Shares) == 0 {
		return nil
	}
	if g.share, err = startShare(g.provider.cfg.AgentBinary, g.placement, g.notes.share); err != nil {
		return err
	}
	rec.Share = g.share
	return rec.write(g.placement.RunDir)
}

// shares says what is wrong with the share helper of a guest that is awake.
func (g *guest) shares() error {
	if g.share != nil && !g.share.alive() {
		return fmt.Errorf("cannot share directories with the virtual machine: %s", noteText(g.notes.share, 1000))
	}
	return nil
}

func (g *guest) endShare() {
	if g.share != nil {
		g.share.end(context.Background(), 0)
	}
}
