package faults

import (
	"os"
	"path/filepath"
	"testing"
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
