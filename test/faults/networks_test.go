package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kill -9 of the daemon with containers in a network of their own: they are in
// it under the next one, by name and by alias, and it can be removed after them.
func TestNetworkSurvives(t *testing.T) {
	e := start(t)
	id := e.Abode(t, "network", "create", "own")
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "srv-"+isolation, "--network", "own", "--network-alias", "alias-"+isolation,
			"busybox", "sh", "-c", "mkdir /www; echo "+isolation+" > /www/index.html; httpd -f -p 80 -h /www")
	}
	for range 2 {
		e.KillDaemon()
		if err := e.StartDaemon(); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.Abode(t, "network", "inspect", "-f", "{{.ID}} {{len .Containers}}", "own"); got != id+" 2" {
		t.Errorf("the network is %q, want %s with 2 containers", got, id)
	}
	for _, isolation := range isolations {
		for _, name := range []string{"srv-" + isolation, "alias-" + isolation} {
			eventually(t, name+" answers", func() bool {
				out, err := e.Try("run", "--rm", "--network", "own", "busybox", "wget", "-qO-", "http://"+name+"/")
				return err == nil && out == isolation
			})
		}
	}
	if out, err := e.Try("network", "rm", "own"); err == nil {
		t.Errorf("a network in use was removed: %s", out)
	}
	for _, isolation := range isolations {
		e.Abode(t, "rm", "-f", "srv-"+isolation)
	}
	e.KillDaemon()
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	e.Abode(t, "network", "rm", "own")
	for _, dir := range []string{filepath.Join(e.Root, "networks"), filepath.Join(e.Run, "networks")} {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v is left", dir, left)
		}
	}
}

// kill -9 of the daemon with containers in several networks, one of which they
// have joined while they ran: they are in all of them under the next one, and
// leave them as ever.
func TestSeveralNetworksSurvive(t *testing.T) {
	e := start(t)
	e.Abode(t, "network", "create", "first")
	e.Abode(t, "network", "create", "second")
	e.Abode(t, "run", "-d", "--name", "peer", "--network", "second", "busybox", "sleep", "1000")
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "srv-"+isolation, "--network", "first", "busybox", "sleep", "1000")
		e.Abode(t, "network", "connect", "--alias", "alias-"+isolation, "second", "srv-"+isolation)
	}
	e.KillDaemon()
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		e.Abode(t, "exec", "peer", "ping", "-c1", "-W5", "alias-"+isolation)
		e.Abode(t, "exec", "srv-"+isolation, "ping", "-c1", "-W5", "peer")
		e.Abode(t, "network", "disconnect", "first", "srv-"+isolation)
	}
	e.KillDaemon()
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		e.Abode(t, "exec", "srv-"+isolation, "ping", "-c1", "-W5", "peer")
		e.Abode(t, "network", "disconnect", "second", "srv-"+isolation)
		if out := e.Abode(t, "exec", "srv-"+isolation, "ip", "-o", "link"); strings.Contains(out, "eth") {
			t.Errorf("%s: out of all networks it has an interface: %s", isolation, out)
		}
		e.Abode(t, "rm", "-f", "srv-"+isolation)
	}
	e.Abode(t, "rm", "-f", "peer")
	e.Abode(t, "network", "rm", "first", "second")
}

// kill -9 of the daemon while a running container joins and leaves networks: it
// is in them or not, can change that as ever, and what it had of the host goes.
func TestKilledDuringConnect(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			e := start(t)
			e.Abode(t, "network", "create", "other")
			e.Abode(t, "run", "-d", "--name", "peer", "--network", "other", "busybox", "sleep", "1000")
			e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "srv", "busybox", "sleep", "1000")
			for i, verb := range []string{"connect", "disconnect", "connect", "disconnect", "connect", "disconnect"} {
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = e.Try("network", verb, "other", "srv")
				}()
				time.Sleep(time.Duration(i+1) * 12 * time.Millisecond)
				e.KillDaemon()
				<-done
				if err := e.StartDaemon(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := e.Try("network", "disconnect", "other", "srv"); err == nil {
				t.Log("it was in the network")
			}
			e.Abode(t, "network", "connect", "other", "srv")
			e.Abode(t, "exec", "srv", "ping", "-c1", "-W5", "peer")
			e.Abode(t, "rm", "-f", "srv", "peer")
			e.Abode(t, "network", "rm", "other")
		})
	}
}

// A container that ends while it is connected leaves nothing in the network.
func TestEndsDuringConnect(t *testing.T) {
	e := start(t)
	e.Abode(t, "network", "create", "other")
	for _, isolation := range isolations {
		for i := range 6 {
			e.Abode(t, "run", "-d", "--isolation", isolation, "--name", "srv", "busybox", "sleep", "1000")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				time.Sleep(time.Duration(i) * 4 * time.Millisecond)
				_, _ = e.Try("kill", "srv")
			}()
			_, _ = e.Try("network", "connect", "other", "srv")
			<-ended
			e.Abode(t, "wait", "srv")
			if got := e.Abode(t, "network", "inspect", "-f", "{{len .Containers}}", "other"); got != "0" {
				t.Errorf("%s: %s containers are in the network", isolation, got)
			}
			e.Abode(t, "rm", "srv")
		}
	}
	e.Abode(t, "network", "rm", "other")
}
