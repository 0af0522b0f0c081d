package faults

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/abode-run/abode/test/harness"
)

// onSmallDisk returns an engine whose files are on a disk of so many MiB.
func onSmallDisk(t *testing.T, size int) *harness.Engine {
	t.Helper()
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=0711,size="+strconv.Itoa(size)+"m", "none", small).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", small).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return harness.StartAt(t, small)
}

// An image that does not fit: a clear error, and nothing half-made.
func TestImportOntoFullDisk(t *testing.T) {
	e := onSmallDisk(t, 64)
	if err := e.Import("busybox"); err != nil {
		t.Fatal(err)
	}
	apps, err := harness.Asset("debian-apps.tar")
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Try("import", apps, "toolarge")
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("importing onto a full disk: %v", err)
	}
	if out := e.Abode(t, "images", "-q"); len(strings.Fields(out)) != 1 {
		t.Errorf("images: %q", out)
	}
	if out := e.Abode(t, "run", "--rm", "busybox", "echo", "works"); out != "works" {
		t.Errorf("after a full disk: %q", out)
	}
}

// A workload that fills the host's disk gets an error, ends, and can be removed.
func TestWorkloadFillsDisk(t *testing.T) {
	e := onSmallDisk(t, 380)
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		e.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "true")
		out, err := e.Try("run", "--isolation", isolation, "--name", isolation, "busybox", "sh", "-c", "dd if=/dev/zero of=/fill bs=1M count=330 conv=fsync && echo fitted")
		if err == nil || strings.Contains(out, "fitted") {
			t.Errorf("%s: 330 MiB fitted onto what is left of 380: %q", isolation, out)
		}
		e.Abode(t, "rm", "-f", isolation)
		if out := e.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "echo", "works"); out != "works" {
			t.Errorf("%s: after a full disk: %q", isolation, out)
		}
	}
}
