package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
)

// commands lists what runs in a container.
func (h *hostAgent) commands(id string) []string {
	h.t.Helper()
	var top agent.TopResponse
	h.must(agent.MethodTop, agent.IDRequest{ID: id}, &top)
	var list []string
	for _, p := range top.Processes {
		if !strings.HasPrefix(p.Stat, "Z") {
			list = append(list, p.Args)
		}
	}
	return list
}

func (h *hostAgent) eventually(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("never came true: %s", what)
		}
	}
}

var noProcess = &agent.Error{Class: agent.ClassNoContainer}

// A process that is tied to its call ends with it, what it has started too, and
// is forgotten.
func TestTied(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		req := adapt(h.container(idle))
		h.running(req)
		start := func(id, script string) *agent.StartRequest {
			return &agent.StartRequest{
				ProcessRequest: agent.ProcessRequest{ID: req.ID, ExecID: id},
				Exec:           &agent.ExecRequest{Args: []string{"sh", "-c", script}, Tied: true}, Attach: &allStreams,
			}
		}
		forgotten := func(id string) {
			t.Helper()
			err := h.call(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: id}, nil)
			if !errors.Is(err, noProcess) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if err := h.call(agent.MethodStart, &agent.StartRequest{ProcessRequest: start("n", "").ProcessRequest, Exec: start("n", "true").Exec}, nil); !errors.Is(err, &agent.Error{Class: agent.ClassInvalid}) {
			t.Errorf("tied to nothing: %v", err)
		}
		// One that ends by itself.
		a := h.stream(agent.MethodStart, start("a", "echo out; exit 3"))
		<-a.done
		if a.exit == nil || a.exit.Code != 3 || a.out() != "out\n" {
			t.Errorf("exit %+v, out %q", a.exit, a.out())
		}
		forgotten("a")
		// One that outlives its caller's interest: half closed, the exit is told.
		// A child of the same session whose parent has gone, a group of its
		// own, and a session of its own below.
		many := "sh -c 'sleep 1001 & sleep 1002 &'; setsid sh -c 'sleep 1003; :' & set -m; sleep 1004 & echo there; sleep 1005"
		sleepers := func() int {
			n := 0
			for _, c := range h.commands(req.ID) {
				if strings.HasPrefix(c, "sleep 100") {
					n++
				}
			}
			return n
		}
		for _, id := range []string{"half", "gone"} {
			a = h.stream(agent.MethodStart, start(id, many))
			a.until(t, "there")
			h.eventually("all sleep", func() bool { return sleepers() == 5 })
			a.conn.Close()
			if id == "gone" {
				a.conn.SetDeadline(time.Unix(1, 0))
			}
			<-a.done
			if id == "half" && (a.exit == nil || a.exit.Code != 137) {
				t.Errorf("exit %+v", a.exit)
			}
			h.eventually("none sleeps", func() bool { return sleepers() == 0 })
			h.eventually("it is forgotten", func() bool {
				return errors.Is(h.call(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: id}, nil), noProcess)
			})
		}
		if !slices.ContainsFunc(h.commands(req.ID), func(c string) bool { return strings.Contains(c, "echo up") }) {
			t.Errorf("the container's own process is not there: %q", h.commands(req.ID))
		}
	})
}

// A process whose exit is known is forgotten with the next, and no other.
func TestCollected(t *testing.T) {
	h := startAgent(t)
	req := h.container(idle)
	h.running(req)
	start := func(id, script string, collected ...string) *agent.StartRequest {
		return &agent.StartRequest{
			ProcessRequest: agent.ProcessRequest{ID: req.ID, ExecID: id},
			Exec:           &agent.ExecRequest{Args: []string{"sh", "-c", script}, Collected: collected},
		}
	}
	h.exec(start("a", "exit 1"), "")
	h.exec(start("b", "exit 2"), "")
	h.must(agent.MethodStart, start("runs", "sleep 1000"), nil)
	h.exec(start("c", "exit 3", "a", "runs", "nosuch", ""), "")
	if err := h.call(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: "a"}, nil); !errors.Is(err, noProcess) {
		t.Errorf("a: %v", err)
	}
	var exit agent.Exit
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: "b"}, &exit)
	if exit.Code != 2 {
		t.Errorf("b: %+v", exit)
	}
	h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, ExecID: "runs", Signal: 9}, nil)
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: "runs"}, &exit)
	if exit.Code != 137 {
		t.Errorf("runs: %+v", exit)
	}
}
