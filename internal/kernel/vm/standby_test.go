package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// prepare makes a standby for a placement, with layers mounted for a container
// that hides paths, and returns its hypervisor.
func prepare(t *testing.T, p *Provider, pl kernel.Placement, layers []kernel.Layer, hides ...string) *process {
	t.Helper()
	p.cfg.Run = filepath.Join(p.cfg.Root, "standby")
	g := &guest{}
	rehearsal := create(g, pl, "")
	rehearsal.ID = "rehearsal"
	rehearsal.Spec.Process.Args = []string{Program}
	rehearsal.Links = []agent.Link{{NewName: "eth0", Addresses: []string{"192.0.2.2/24"}, Gateways: []string{"192.0.2.1"}}}
	a := Ahead{ID: "spare-" + pl.ID, NIC: pl.NICs[0], Owner: pl.Owner, CPUs: pl.CPUs, Memory: pl.Memory, Rehearsal: rehearsal}
	if layers != nil {
		f := rehearsal.Foundation()
		f.MaskedPaths = hides
		a.Layers, a.Foundation = layers, &f
	}
	err := p.Prepare(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Forget("") })
	return p.standbys.ready[0].proc
}

// gone checks that nothing of standbys is left.
func gone(t *testing.T, p *Provider, proc *process) {
	t.Helper()
	if proc.alive() {
		t.Error("the hypervisor lives")
	}
	noneLeft(t, p)
}

// noneLeft checks that no file of a standby is left.
func noneLeft(t *testing.T, p *Provider) {
	t.Helper()
	for _, pattern := range []string{filepath.Join(p.cfg.Run, "*"), filepath.Join(p.cfg.Root, "vm", aheadPrefix+"*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// A guest that was prepared becomes a container's, with its disks, log, shares
// and interface, and nothing of what it was before, whichever image was
// expected.
func TestStandby(t *testing.T) {
	all := layers(t)
	for name, expected := range map[string]struct {
		layers []kernel.Layer
		hides  []string
	}{"no image": {}, "this image": {layers: all}, "another image": {layers: []kernel.Layer{all[1], all[0]}}, "another container": {all, []string{"/etc"}}} {
		t.Run(name, func(t *testing.T) { testStandby(t, all, expected.layers, expected.hides) })
	}
}

func testStandby(t *testing.T, layers, expected []kernel.Layer, hides []string) {
	p := providerOf(t, &fixture.real)
	pl := placement(t, p)
	pl.Layers = layers
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), []byte("shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pl.Shares = []kernel.Share{{Tag: "dir", Path: shared, ReadOnly: true}}
	addTap(t, &pl)
	proc := prepare(t, p, pl, expected, hides...)
	k := place(t, p, pl)
	if pids := k.Processes(); pids[0] != proc.PID {
		t.Fatalf("the guest is of process %d, not of %d, which was ready", pids[0], proc.PID)
	}
	noneLeft(t, p)
	req := create(k, pl, "cat /etc/which /etc/below /dir/file; ls /bin/true; ping -c 1 -W 5 198.18.77.1 >/dev/null && echo answered; df -k / | tail -n 1 >/kept; date +%s")
	req.Links = []agent.Link{{Name: k.Link(0), NewName: "eth0", Addresses: []string{"198.18.77.2/30"}, Gateways: []string{"198.18.77.1"}}}
	kind, source := k.Share(0)
	req.Mounts = []agent.Mount{{Type: kind, Source: source, Target: "/dir", ReadOnly: true}}
	out, exit := run(t, k, req)
	if exit.Code != 0 || !strings.HasPrefix(out, "high\nbelow\nshared\n/bin/true\nanswered\n") {
		t.Errorf("exit %+v, output:\n%s", exit, out)
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log, _ := os.ReadFile(pl.Log); !bytes.Contains(log, []byte("answered")) {
		t.Errorf("the log holds %q", log)
	}
	if out, err := exec.Command("e2fsck", "-fn", filepath.Join(pl.StateDir, writableName)).CombinedOutput(); err != nil {
		t.Errorf("the writable disk is not clean: %v: %s", err, out)
	}
	gone(t, p, proc)
	// What was written is on the container's own disk.
	proc = prepare(t, p, pl, expected, hides...)
	k = place(t, p, pl)
	if pids := k.Processes(); pids[0] != proc.PID {
		t.Errorf("the guest is of process %d, not of %d, which was ready", pids[0], proc.PID)
	}
	if out, _ := run(t, k, create(k, pl, "cat /kept")); !strings.Contains(out, "overlay") {
		t.Errorf("what was written came back as %q", out)
	}
}

// A guest that was prepared and then died, or that a dead daemon has left, is
// in nobody's way.
func TestStandbyEnds(t *testing.T) {
	p := providerOf(t, &fixture.real)
	pl := placement(t, p)
	pl.Layers = layers(t)
	addTap(t, &pl)
	proc := prepare(t, p, pl, pl.Layers)
	_ = exec.Command("kill", "-9", strconv.Itoa(proc.PID)).Run()
	<-proc.gone
	k := place(t, p, pl)
	if out, _ := run(t, k, create(k, pl, "echo up")); out != "up\n" {
		t.Errorf("%q", out)
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}

	// One of another shape gives its interface up.
	proc = prepare(t, p, pl, pl.Layers)
	pl.Memory *= 2
	k = place(t, p, pl)
	if out, _ := run(t, k, create(k, pl, "echo other")); out != "other\n" {
		t.Errorf("%q", out)
	}
	if proc.alive() {
		t.Error("a guest of another shape lives on")
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}

	proc = prepare(t, p, pl, pl.Layers)
	next, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	next.CleanStandbys()
	<-proc.gone
	gone(t, next, proc)
}
