package state

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// WriteJSON replaces the file path by v as JSON. After a crash at any moment
// the file holds either what it held or v; when WriteJSON has returned nil it
// holds v, also after a loss of power. Mode is 0600. Calls for one path must
// not overlap.
func WriteJSON(path string, v any) error { return writeJSON(path, v, true) }

// ReplaceJSON is WriteJSON for what is below RUN: it does not wait for the
// disk, and a loss of power can leave a file without content.
func ReplaceJSON(path string, v any) error { return writeJSON(path, v, false) }

func writeJSON(path string, v any, lasting bool) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = writeFile(path, append(b, '\n'), lasting)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// tmpSuffix marks a file that is not whole yet. One that is found is garbage.
const tmpSuffix = ".tmp"

func writeFile(path string, b []byte, lasting bool) error {
	tmp := path + tmpSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && lasting {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	if !lasting {
		return nil
	}
	return SyncDir(filepath.Dir(path))
}

// ReadJSON reads what WriteJSON wrote. The error is os.ErrNotExist when there
// is no such file; a damaged one is named in the error.
func ReadJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("cannot read %s: it is damaged: %w", path, err)
	}
	return nil
}

// SyncDir makes the creations, renames and removals in a directory last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
