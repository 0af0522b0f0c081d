package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	var got map[string]int
	if err := ReadJSON(path, &got); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("reading nothing: %v", err)
	}
	for i, write := range []func(string, any) error{WriteJSON, ReplaceJSON, WriteJSON} {
		if err := write(path, map[string]int{"a": i}); err != nil {
			t.Fatal(err)
		}
		if err := ReadJSON(path, &got); err != nil || got["a"] != i {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the file: %v, %v", entries, err)
	}
	if err := os.WriteFile(path, []byte(`{"a":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ReadJSON(path, &got); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := WriteJSON(path, func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
	if err := WriteJSON(filepath.Join(path, "y.json"), 1); err == nil {
		t.Error("a file was written below a file")
	}
}

func TestRecords(t *testing.T) {
	d := Dirs{Root: t.TempDir(), Run: t.TempDir()}
	for _, passing := range []bool{false, true} {
		if err := os.MkdirAll(string(d.Container("x")), 0o700); err != nil {
			t.Fatal(err)
		}
		r := d.Records("x", passing)
		if err := errors.Join(r.Make(), r.SaveConfig(1), r.SaveState(2)); err != nil {
			t.Fatal(err)
		}
		var config, state int
		if err := errors.Join(ReadJSON(r.Config(), &config), ReadJSON(r.State(), &state)); err != nil || config != 1 || state != 2 {
			t.Errorf("got %d, %d, %v", config, state, err)
		}
		if under := strings.HasPrefix(r.State(), d.Run); under != passing {
			t.Errorf("passing %t: %s", passing, r.State())
		}
		if err := r.Remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(string(d.Container("x"))); err != nil {
			t.Errorf("the container's own directory: %v", err)
		}
		if _, err := os.Stat(r.State()); (err == nil) == passing {
			t.Errorf("passing %t: %v", passing, err)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); err == nil || !strings.Contains(err.Error(), "process ") {
		t.Errorf("the second lock: %v", err)
	}
	unlock()
	unlock, err = Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestNames(t *testing.T) {
	id := strings.Repeat("0a", 32)
	c := Dirs{Root: "/r"}.Container(id)
	if got := c.Removed(); got != "/r/containers/.removed-"+id || !IsRemoved(filepath.Base(got)) || IsID(filepath.Base(got)) {
		t.Errorf("Removed: %s", got)
	}
	for name, want := range map[string]bool{id: true, id[1:]: false, strings.ToUpper(id): false, id[:63] + "/": false} {
		if IsID(name) != want {
			t.Errorf("IsID(%q) = %t", name, !want)
		}
	}
}
