package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// kill -9 of the daemon just after a container that removes itself has ended:
// the next daemon takes away what was left of it, under the same name another
// runs at once.
func TestKilledBehindAnEnd(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		for i := range 5 {
			if out := e.Abode(t, "run", "--rm", "--name", "same", "--isolation", isolation, "busybox", "echo", "ran"); out != "ran" {
				t.Errorf("%s: it said %q", isolation, out)
			}
			time.Sleep(time.Duration(i) * 3 * time.Millisecond)
			e.KillDaemon()
			if err := e.StartDaemon(); err != nil {
				t.Fatal(err)
			}
			noContainers(t, e.Root)
		}
		if out := e.Abode(t, "ps", "-aq"); out != "" {
			t.Errorf("%s: there are containers: %s", isolation, out)
		}
	}
}

// A machine that loses its power takes containers that remove themselves with
// it, and leaves the others.
func TestReboot(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		e.Abode(t, "create", "--isolation", isolation, "--name", "stays-"+isolation, "busybox")
		e.Abode(t, "create", "--rm", "--isolation", isolation, "--name", "rm-"+isolation, "busybox")
		e.Abode(t, "create", "--rm", "-v", "/data", "--isolation", isolation, "--name", "volume-"+isolation, "busybox")
	}
	e.KillDaemon()
	if err := os.RemoveAll(e.Run); err != nil {
		t.Fatal(err)
	}
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		e.Abode(t, "inspect", "stays-"+isolation)
		if out, err := e.Try("inspect", "rm-"+isolation); err == nil {
			t.Errorf("a container that was to be removed is there: %s", out)
		}
		e.Abode(t, "rm", "stays-"+isolation)
		e.Abode(t, "rm", "-v", "volume-"+isolation) // its volume must be known of
	}
	if out := e.Abode(t, "volume", "ls", "-q"); out != "" {
		t.Errorf("volumes are left: %s", out)
	}
	noContainers(t, e.Root)
}

func noContainers(t *testing.T, root string) {
	t.Helper()
	eventually(t, "no container has a directory", func() bool {
		left, err := os.ReadDir(filepath.Join(root, "containers"))
		return err == nil && len(left) == 0
	})
}
