package runtime

import (
	"fmt"
	"strings"
	"time"

	"github.com/abode-run/abode/internal/agent"
)

// freeze stops or goes on with every process of the cgroup, and returns when
// they have done so.
func (c *cgroup) freeze(on bool) error {
	controller, file, want := "", "cgroup.freeze", "0"
	if on {
		want = "1"
	}
	done := func() bool {
		state := uint64(0)
		if on {
			state = 1
		}
		return c.field("", "cgroup.events", "frozen") == state
	}
	if c.h.v2 == "" {
		controller, file, want = "freezer", "freezer.state", "THAWED"
		if on {
			want = "FROZEN"
		}
		done = func() bool { return c.read("freezer", "freezer.state") == want }
		if _, ok := c.dirs["freezer"]; !ok {
			if !on {
				return nil
			}
			return errorf(agent.ClassInvalid, "this kernel has no freezer: mount its cgroup controller")
		}
	}
	for range 500 {
		// v1 may need to be told again while processes fork.
		if err := c.write(controller, file, want); err != nil {
			return err
		}
		for range 10 {
			if done() {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
	}
	if err := c.write(controller, file, strings.NewReplacer("FROZEN", "THAWED", "1", "0").Replace(want)); err != nil {
		return fmt.Errorf("the container's processes do not stop, and some may stay frozen: %w", err)
	}
	return fmt.Errorf("the container's processes do not stop")
}

// Pause stops every process of a running container.
func (r *Runtime) Pause(id string) error { return r.setPaused(id, true) }

// Resume lets them go on.
func (r *Runtime) Resume(id string) error { return r.setPaused(id, false) }

func (r *Runtime) setPaused(id string, pause bool) error {
	c, err := r.get(id)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	c.mu.Lock()
	paused := c.paused
	c.mu.Unlock()
	switch {
	case !c.main.running():
		return errorf(agent.ClassConflict, "container %s is not running", id)
	case pause && paused:
		return errorf(agent.ClassConflict, "container %s is already paused", id)
	case !pause && !paused:
		return errorf(agent.ClassConflict, "container %s is not paused", id)
	}
	if err := c.cgroup.freeze(pause); err != nil {
		return err
	}
	c.mu.Lock()
	c.paused = pause
	c.mu.Unlock()
	return nil
}

// Update changes a container's limits.
func (r *Runtime) Update(req *agent.UpdateRequest) error {
	c, err := r.get(req.ID)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	if c.gone {
		return errorf(agent.ClassNoContainer, "%w: %s", errNoContainer, req.ID)
	}
	return c.cgroup.apply(req.Resources)
}
