package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/abode-run/abode/internal/agent"
)

// TestDeadAttacherIsDropped has an attacher that reads nothing hold the
// workload up, and then die; the log gets every byte.
func TestDeadAttacherIsDropped(t *testing.T) {
	h := startAgent(t)
	req := h.container("head -c 8000000 /dev/zero; echo end")
	req.Log = filepath.Join(h.run, "log")
	h.must(agent.MethodCreate, req, nil)
	deaf := newClient(h.run)
	if _, err := deaf.Stream(context.Background(), agent.MethodAttach, agent.AttachRequest{ProcessRequest: agent.ProcessRequest{ID: req.ID}, AttachStreams: agent.AttachStreams{Stdout: true}}, nil); err != nil {
		t.Fatal(err)
	}
	live := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	deaf.Close()
	var exit agent.Exit
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	<-live.done
	if n := len(live.out()); n != 8000004 || exit.Code != 0 {
		t.Errorf("%d bytes, exit %+v", n, exit)
	}
	if st, err := os.Stat(req.Log); err != nil || st.Size() < 8000004 {
		t.Errorf("the log: %v %v", st, err)
	}
	// Attached after the end: nothing, and at once.
	late := h.attach(req.ID, "")
	<-late.done
}

// BenchmarkRun is the whole life of a container: create, start, wait, delete.
func BenchmarkRun(b *testing.B) {
	h := startAgent(b)
	req := h.container("")
	req.Spec.Process.Args = []string{"/bin/true"}
	for b.Loop() {
		p := agent.ProcessRequest{ID: req.ID}
		h.must(agent.MethodCreate, req, nil)
		h.must(agent.MethodStart, p, nil)
		h.must(agent.MethodWait, p, nil)
		h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
	}
}
