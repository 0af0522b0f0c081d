package runtime

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/procfs"
)

// forget ends a process of which nobody will ask any more.
func (r *Runtime) forget(p *process, at agent.ProcessRequest) {
	p.kill()
	<-p.done
	if c, err := r.get(at.ID); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.execs[at.ExecID] == p {
			delete(c.execs, at.ExecID)
		}
	}
}

// forgetEnded drops those of the processes that have ended. The caller holds mu.
func (c *container) forgetEnded(execIDs []string) {
	for _, id := range execIDs {
		p := c.execs[id]
		if p == nil {
			continue
		}
		select {
		case <-p.done:
			delete(c.execs, id)
		default:
		}
	}
}

// killPasses bounds how often what a process has started is looked for: it may
// start more as fast as that is killed.
const killPasses = 100

// killTree kills a process of a container that leads a session, with its
// descendants and all of its session. What has left both is not found.
func (r *Runtime) killTree(id string, leader int) {
	c, err := r.get(id)
	if err != nil {
		return // it dies with its container
	}
	for range killPasses {
		pids, err := c.cgroup.procs()
		if err != nil {
			r.log.Warn("what a process has started cannot be ended", "container", id, "error", err)
			return
		}
		found := tree(pids, leader)
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// tree is which of pids live and are the leader, below it, or of its session.
func tree(pids []int, leader int) []int {
	type figures struct{ parent, session int }
	live := map[int]figures{}
	for _, pid := range pids {
		b, err := os.ReadFile(procPath(pid, "stat"))
		f := procfs.Stat(b)
		if err != nil || len(f) < 4 || f[0] == "Z" || f[0] == "X" {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		session, _ := strconv.Atoi(f[3])
		live[pid] = figures{parent, session}
	}
	in := map[int]bool{}
	for grown := true; grown; {
		grown = false
		for pid, f := range live {
			if !in[pid] && (pid == leader || f.session == leader || in[f.parent]) {
				in[pid], grown = true, true
			}
		}
	}
	var list []int
	for pid := range in {
		list = append(list, pid)
	}
	return list
}
