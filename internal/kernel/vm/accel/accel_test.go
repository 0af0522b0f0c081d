package accel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Skip("no /dev/kvm")
	}
	took, err := probe(deadline)
	if err != nil && !errors.Is(err, errTooSlow) {
		t.Fatalf("the probe could not run: %v", err)
	}
	if errors.Is(err, errTooSlow) {
		// With all the time it needs the loop ends, so it was slow and nothing else.
		if took, err = probe(time.Minute); err != nil {
			t.Fatalf("the probe does not end: %v", err)
		}
	}
	t.Logf("a million iterations took %v", took)
}

func TestChoiceIsKeptUntilTheNextBoot(t *testing.T) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Skip("no /dev/kvm")
	}
	dir := t.TempDir()
	first := Choose(dir)
	if first.Reason == "" {
		t.Fatalf("no reason: %+v", first)
	}
	file := filepath.Join(dir, "accelerator.json")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if again := Choose(dir); again != first {
		t.Errorf("second choice: %+v", again)
	}
	if after, _ := os.Stat(file); !os.SameFile(before, after) {
		t.Error("it was probed again")
	}
	if err := os.WriteFile(file, []byte(`{"BootID":"another","Choice":{"Name":"none"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := Choose(dir); again.Name != first.Name {
		t.Errorf("choice after another boot: %+v", again)
	}
}
