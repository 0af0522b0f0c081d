package engine

import (
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// fadingMax bounds how many containers may be out of sight and not yet gone,
// so that starts do not run ahead of what they leave.
const fadingMax = 16

// fades says whether a container that is removed when it ends can be out of
// sight before all of it is gone: when nobody could tell the difference. What
// others may want at once (ports, an address, files that they share, a network to remove) holds it
// back.
func (rec *record) fades() bool {
	return len(rec.shared()) == 0 && len(rec.Host.PortBindings) == 0 && !rec.Host.PublishAllPorts &&
		(len(rec.Endpoints) == 0 || rec.plain() && !rec.Endpoints[0].fixed() && rec.Endpoints[0].MAC == "")
}

// discards says whether nothing remains of a removed container's own kernel.
func (rec *record) discards() bool { return rec.ownKernel() && len(rec.shared()) == 0 }

// fade ends a container: first in the sight of all who wait for that, then in
// fact. On disk it runs until it is gone, so that a daemon that finds it there
// takes it away.
func (c *Container) fade(k kernel.Kernel, rec *record, exit agent.Exit, ran time.Duration) {
	c.mu.Lock()
	c.st.ExitCode = exit.Code
	c.mu.Unlock()
	c.e.containers.hide(c.id)
	c.died(rec, exit, ran)
	c.gone()
	given := c.giveBack(k, rec.discards())
	c.mu.Lock()
	c.leaveRest(&given)
	c.dropMonitor()
	c.kernel, c.st.Phase = nil, phaseRemoving
	done := c.ended
	c.mu.Unlock()
	if err := c.eraseFiles(); err != nil {
		c.e.log.Error("a removed container leaves files", "container", c.id, "error", err)
	}
	c.e.containers.forget(c.id)
	close(done)
}
