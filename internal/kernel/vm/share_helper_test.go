package vm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// TestShareHelper looks at the process that serves shares, not at what it
// serves: it lives as long as the guest, and no longer.
func TestShareHelper(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	pl.Shares = []kernel.Share{{Tag: "data", Path: t.TempDir()}, {Tag: "fixed", Path: t.TempDir(), ReadOnly: true}}
	k := place(t, p, pl)
	if kind, source := k.Share(1); kind != agent.MountShare || source != "fixed" {
		t.Errorf("share 1 is %s %s", kind, source)
	}
	if pids := k.Processes(); len(pids) != 2 {
		t.Fatalf("processes: %v", pids)
	}
	k.Agent().Close()
	k, err := provider(t).Recover(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	pids := k.Processes()
	if len(pids) != 2 {
		t.Fatalf("processes after recovery: %v", pids)
	}
	hypervisor, err := os.FindProcess(pids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := hypervisor.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, k.Done())
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkGone(t, pl)
}

// TestShareOfNothing has a directory that is not there. The helper says so;
// mostly that is before the guest is awake, and then Place fails.
func TestShareOfNothing(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	pl.Shares = []kernel.Share{{Tag: "none", Path: "/nowhere/at/all"}}
	k, err := p.Place(t.Context(), pl)
	said := fmt.Sprint(err)
	if err == nil {
		g := k.(*guest)
		wait(t, g.share.gone)
		said = noteText(g.notes.share, 1000)
		if err := k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(said, "/nowhere/at/all") {
		t.Errorf("what was said: %s", said)
	}
	checkGone(t, pl)
}
