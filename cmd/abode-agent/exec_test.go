package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/abode-run/abode/internal/agent"
)

// running starts a container that runs until it is killed.
func (h *hostAgent) running(req *agent.CreateRequest) *attached {
	h.t.Helper()
	h.must(agent.MethodCreate, req, nil)
	a := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	a.until(h.t, "up")
	return a
}

const idle = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"

// exec runs another process to its end.
func (h *hostAgent) exec(req *agent.StartRequest, input string) (*attached, agent.Exit) {
	h.t.Helper()
	req.Attach = &allStreams
	a := h.stream(agent.MethodStart, req)
	if input != "" {
		a.send(agent.IOStdin, input)
		a.send(agent.IOStdinClose, "")
	}
	var exit agent.Exit
	h.must(agent.MethodWait, req.ProcessRequest, &exit)
	<-a.done
	a.conn.Close()
	if a.exit == nil || a.exit.Code != exit.Code || !a.exit.At.Equal(exit.At) {
		h.t.Errorf("the stream tells the exit %+v, the agent %+v", a.exit, exit)
	}
	return a, exit
}

func TestExec(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		req := adapt(h.container(idle))
		h.running(req)
		start := func(id string, args ...string) *agent.StartRequest {
			return &agent.StartRequest{ProcessRequest: agent.ProcessRequest{ID: req.ID, ExecID: id}, Exec: &agent.ExecRequest{Args: args}}
		}
		sh := func(id, script string) *agent.StartRequest { return start(id, "sh", "-c", script) }
		a, exit := h.exec(sh("a", "id -u; hostname; echo err >&2; cat /proc/1/cmdline | head -c 7; echo; grep CapEff /proc/self/status; ls -l /proc/self/ns | wc -l; for n in mnt net pid ipc uts cgroup user; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo other $n; done; exit 9"), "")
		if exit.Code != 9 || a.stderr.String() != "err\n" || !strings.HasPrefix(a.out(), "0\nbox\n/bin/sh\nCapEff:\t00000000a80425fb\n") || strings.Contains(a.out(), "other") {
			t.Errorf("exit %+v, out %q, err %q", exit, a.out(), a.stderr.String())
		}
		r := sh("b", "cat; id -un; pwd; echo $X $HOME; touch /root-only 2>&1")
		r.Exec.OpenStdin, r.Exec.User, r.Exec.Cwd, r.Exec.Env = true, "app", "/tmp", []string{"X=1"}
		a, _ = h.exec(r, "input")
		if a.out() != "inputapp\n/tmp\n1 /home/app\ntouch: /root-only: Permission denied\n" {
			t.Errorf("%q", a.out())
		}
		r = sh("p", "grep CapEff /proc/self/status")
		r.Exec.Privileged = true
		if a, _ = h.exec(r, ""); strings.Contains(a.out(), "a80425fb") {
			t.Errorf("privileged: %q", a.out())
		}
		// A grandchild in the background keeps the pipe open.
		if _, exit = h.exec(sh("c", "sleep 1000 & exit 4"), ""); exit.Code != 4 {
			t.Errorf("exit %+v", exit)
		}
		err := h.call(agent.MethodStart, start("d", "nosuch"), nil)
		if !errors.Is(err, &agent.Error{Class: agent.ClassNotFound}) || !strings.Contains(err.Error(), "executable file not found in $PATH") {
			t.Errorf("got %v", err)
		}
		// The exec dies with the container's first process.
		h.must(agent.MethodStart, sh("e", "sleep 1000"), nil)
		h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: 9}, nil)
		h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID, ExecID: "e"}, &exit)
		if exit.Code != 137 {
			t.Errorf("exit %+v", exit)
		}
		h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
		if err := h.call(agent.MethodStart, sh("f", "true"), nil); !errors.Is(err, &agent.Error{Class: agent.ClassConflict}) {
			t.Errorf("exec in the dead: %v", err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	h := startAgent(t)
	var reqs []*agent.CreateRequest
	for i := range 8 {
		reqs = append(reqs, h.container(fmt.Sprintf("echo up; read x; exit %d", i)))
	}
	var wg sync.WaitGroup
	for i, req := range reqs {
		req.OpenStdin = true
		wg.Go(func() {
			if err := h.call(agent.MethodCreate, req, nil); err != nil {
				t.Error(err)
				return
			}
			if err := h.call(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil); err != nil {
				t.Error(err)
			}
			for j := range 4 {
				var exit agent.Exit
				p := agent.ProcessRequest{ID: req.ID, ExecID: fmt.Sprint("e", j)}
				run := &agent.StartRequest{ProcessRequest: p, Exec: &agent.ExecRequest{Args: []string{"sh", "-c", "exit 3"}}}
				if err := errors.Join(h.call(agent.MethodStart, run, nil), h.call(agent.MethodWait, p, &exit)); err != nil || exit.Code != 3 {
					t.Error(err, exit)
				}
			}
			a := h.attach(req.ID, "")
			a.send(agent.IOStdin, "go\n")
			var exit agent.Exit
			if err := h.call(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit); err != nil || exit.Code != i {
				t.Error(err, exit)
			}
			<-a.done
		})
	}
	wg.Wait()
}

func TestTerminal(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		req := adapt(h.container("tty; [ -t 2 ] && echo both; stat -c %u $(tty) /dev/console; echo hello > /dev/console; stty size; read x; echo got $x; stty size; exit 6"))
		req.Spec.Process.Terminal, req.OpenStdin, req.User = true, true, "app"
		h.must(agent.MethodCreate, req, nil)
		a := h.attach(req.ID, "")
		h.must(agent.MethodResize, agent.ResizeRequest{ID: req.ID, Width: 100, Height: 30}, nil)
		h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
		a.until(t, "30 100\r\n")
		h.must(agent.MethodResize, agent.ResizeRequest{ID: req.ID, Width: 77, Height: 22}, nil)
		a.send(agent.IOStdin, "word\n")
		var exit agent.Exit
		h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
		<-a.done
		want := "/dev/pts/0\r\nboth\r\n1000\r\n1000\r\nhello\r\n30 100\r\nword\r\ngot word\r\n22 77\r\n"
		if a.out() != want || exit.Code != 6 {
			t.Errorf("exit %+v, out %q", exit, a.out())
		}

		req = adapt(h.container(idle))
		h.running(req)
		a, exit = h.exec(&agent.StartRequest{
			ProcessRequest: agent.ProcessRequest{ID: req.ID, ExecID: "t"},
			Exec: &agent.ExecRequest{Terminal: true, OpenStdin: true, Width: 50, Height: 10, User: "app",
				Args: []string{"sh", "-c", "stty size; tty; stat -c '%u %g' $(tty); echo x > /dev/tty; exit 2"}},
		}, "")
		if a.out() != "10 50\r\n/dev/pts/0\r\n1000 5\r\nx\r\n" || exit.Code != 2 {
			t.Errorf("exit %+v, out %q", exit, a.out())
		}
	})
}

func TestStdin(t *testing.T) {
	h := startAgent(t)
	req := h.container("cat; echo end")
	if out := h.output(req); out != "end\n" { // nobody opens it: end of file at once
		t.Errorf("%q", out)
	}
	// Attachers come and go while it stays open, until one that closes it.
	req = h.container("read a; echo a=$a; read b; echo b=$b; cat; echo end")
	req.OpenStdin = true
	h.must(agent.MethodCreate, req, nil)
	one := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	one.send(agent.IOStdin, "1\n")
	one.until(t, "a=1")
	one.conn.Close()
	two := h.attach(req.ID, "")
	two.send(agent.IOStdin, "2\n")
	two.until(t, "b=2")
	h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: 9}, nil)
	<-two.done
	if strings.Contains(two.out(), "a=1") {
		t.Errorf("the second attacher got what came before: %q", two.out())
	}

	req = h.container("cat; echo end")
	req.OpenStdin, req.StdinOnce = true, true
	h.must(agent.MethodCreate, req, nil)
	a := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	big := strings.Repeat("0123456789abcdef", 64<<10/16)
	for range 32 {
		if err := a.send(agent.IOStdin, big); err != nil {
			t.Fatal(err)
		}
	}
	a.send(agent.IOStdinClose, "")
	<-a.done
	if got := a.out(); len(got) != 32*len(big)+4 || !strings.HasSuffix(got, "end\n") {
		t.Errorf("%d bytes came back", len(got))
	}
}
