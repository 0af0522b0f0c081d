package vm

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/cespare/xxhash/v2"
)

// templateDir is the directory of the template that a placement uses.
func templateDir(t *testing.T, p *Provider, pl kernel.Placement) (dir, key string) {
	t.Helper()
	s, err := p.shape(pl)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(p.cfg.Root, "templates", s.key), s.key
}

func fromTemplate(t *testing.T, pl kernel.Placement) bool {
	t.Helper()
	rec, err := readRecord(pl.RunDir, pl.ID)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Template
}

// TestTornTemplate damages a template on disk: it is noticed before any guest
// sees it, and the template is made anew.
func TestTornTemplate(t *testing.T) {
	p := provider(t)
	place(t, p, placement(t, p))
	pl := placement(t, p)
	dir, key := templateDir(t, p, pl)
	f, err := os.OpenFile(filepath.Join(dir, "memory"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 20<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := loadTemplate(dir, key); !errors.Is(err, errBroken) {
		t.Errorf("the damage was not noticed: %v", err)
	}
	p = provider(t) // one that has not loaded it
	place(t, p, pl)
	if !fromTemplate(t, pl) {
		t.Error("the guest was booted")
	}
	tpl, err := loadTemplate(dir, key)
	if err != nil {
		t.Fatalf("the template was not made anew: %v", err)
	}
	tpl.close()
}

// TestBadTemplate has a template that is whole and does not work: the guest is
// booted, and the next one has a new template.
func TestBadTemplate(t *testing.T) {
	p := provider(t)
	place(t, p, placement(t, p))
	pl := placement(t, p)
	dir, _ := templateDir(t, p, pl)
	state := []byte("this is no guest")
	var meta templateMeta
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	if err != nil {
		t.Fatal(err)
	}
	meta.StateBytes, meta.StateSum = int64(len(state)), xxhash.Sum64(state)
	b, _ = json.Marshal(meta)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "state"), state, 0o600), os.WriteFile(filepath.Join(dir, "meta.json"), b, 0o600)); err != nil {
		t.Fatal(err)
	}
	p = provider(t)
	place(t, p, pl)
	if fromTemplate(t, pl) {
		t.Error("the guest began from a template that cannot work")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the bad template was kept: %v", err)
	}
	next := placement(t, p)
	place(t, p, next)
	if !fromTemplate(t, next) {
		t.Error("no new template was made")
	}
}

// TestPrune keeps the templates that were used last.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i, name := range []string{"c", "a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		at := now.Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	pruneTemplates(dir, 2)
	for name, want := range map[string]bool{"c": true, "a": true, "b": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRecover lets a second provider find what a first one placed.
func TestRecover(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	first := place(t, p, pl)
	do(t, first, "test.write", request{Path: "/tmp/mark", Data: "same guest"})

	first.Agent().Close() // as a daemon that was killed
	second, err := provider(t).Recover(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	if b := read(t, second, "/tmp/mark", 0, 100); string(b) != "same guest" {
		t.Errorf("the guest has %q", b)
	}
	if a, b := first.Processes(), second.Processes(); len(b) != 1 || a[0] != b[0] {
		t.Errorf("processes %v and %v", a, b)
	}
	do(t, second, "test.write", request{Path: second.Log(), Data: "after recovery"})
	if err := second.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, first.Done())
	checkGone(t, pl)
	if b, _ := os.ReadFile(pl.Log); string(b) != "after recovery" {
		t.Errorf("the log holds %q", b)
	}
}

// TestRecoverCleansUp has guests that are not to be recovered.
func TestRecoverCleansUp(t *testing.T) {
	p := provider(t)
	gone := func(pl kernel.Placement) {
		t.Helper()
		if _, err := provider(t).Recover(t.Context(), pl); !errors.Is(err, kernel.ErrGone) {
			t.Errorf("recover: %v", err)
		}
		checkGone(t, pl)
	}
	t.Run("hypervisor killed", func(t *testing.T) {
		pl := placement(t, p)
		k := place(t, p, pl)
		proc, _ := os.FindProcess(k.Processes()[0])
		proc.Kill()
		wait(t, k.Done())
		gone(pl)
	})
	t.Run("never recorded", func(t *testing.T) {
		pl := placement(t, p)
		k := place(t, p, pl)
		if err := os.Remove(filepath.Join(pl.RunDir, recordName)); err != nil {
			t.Fatal(err)
		}
		gone(pl)
		wait(t, k.Done())
	})
	t.Run("record of another boot", func(t *testing.T) {
		pl := placement(t, p)
		b, _ := json.Marshal(record{Version: 1, ID: pl.ID, BootID: "another", Hypervisor: process{PID: 1, Start: 1}})
		if err := os.WriteFile(filepath.Join(pl.RunDir, recordName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		gone(pl)
	})
	t.Run("nothing", func(t *testing.T) { gone(placement(t, p)) })
}

// TestReleaseWithoutAnswer has a guest that does not answer any more.
func TestReleaseWithoutAnswer(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	k := place(t, p, pl)
	k.Agent().Close() // every call fails from now on
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Release(ctx); err != nil {
		t.Fatal(err)
	}
	wait(t, k.Done())
	checkGone(t, pl)
	if err := k.Agent().Call(t.Context(), agent.MethodInfo, nil, nil); err == nil {
		t.Error("a released guest answers")
	}
}
