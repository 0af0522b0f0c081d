// Package dockerconfig reads and writes Docker's config.json: registry
// credentials, and where they are kept. What it doesn't know in the file it
// leaves as it is.
package dockerconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is one config.json. It is not safe for concurrent use.
type File struct {
	path string
	raw  map[string]json.RawMessage // every top-level field
	// auths are the entries of the file, whole, for fields of others' in them.
	auths       map[string]map[string]json.RawMessage
	credsStore  string
	credHelpers map[string]string
}

// Path is where config.json is: in $DOCKER_CONFIG, else in ~/.docker.
func Path() (string, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find config.json: %w; set DOCKER_CONFIG to its directory", err)
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json"), nil
}

// Load reads the file at path; a file that doesn't exist is an empty one.
func Load(path string) (*File, error) {
	f := &File{path: path, raw: map[string]json.RawMessage{}, auths: map[string]map[string]json.RawMessage{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the registry credentials: %w", err)
	}
	if len(data) == 0 {
		return f, nil
	}
	if err := json.Unmarshal(data, &f.raw); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	for _, field := range []struct {
		name string
		into any
	}{
		{"auths", &f.auths}, {"credsStore", &f.credsStore}, {"credHelpers", &f.credHelpers},
	} {
		if v, ok := f.raw[field.name]; ok {
			if err := json.Unmarshal(v, field.into); err != nil {
				return nil, fmt.Errorf("cannot read %s: %s: %w", path, field.name, err)
			}
		}
	}
	if f.auths == nil {
		f.auths = map[string]map[string]json.RawMessage{}
	}
	return f, nil
}

// String returns the string field name of the file, such as detachKeys, or "".
func (f *File) String(name string) string {
	var s string
	if json.Unmarshal(f.raw[name], &s) != nil {
		return ""
	}
	return s
}

// save writes the file with mode 0600, atomically: a reader sees the old or
// the new one, and a crash leaves one of them whole. A symbolic link stays
// one: its target is replaced.
func (f *File) save() error {
	auths, err := json.Marshal(f.auths)
	if err != nil {
		return err
	}
	f.raw["auths"] = auths
	data, err := json.MarshalIndent(f.raw, "", "\t")
	if err != nil {
		return err
	}
	path := f.path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := writeFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("cannot save the registry credentials: %w", err)
	}
	return nil
}

func writeFile(path string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	if st, serr := os.Stat(path); serr == nil {
		preserveOwner(t, st)
	}
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}

// preserveOwner keeps the owner of a file that is replaced, which matters
// under sudo; without the right to it, the caller owns the new file.
func preserveOwner(t *os.File, old os.FileInfo) {
	if uid, gid, ok := owner(old); ok {
		_ = t.Chown(uid, gid)
	}
}
