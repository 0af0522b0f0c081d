package state

import (
	"os"
	"path/filepath"
)

// Records are the two files that say what one container is and does. They are
// in its directory; or, of a container that is not to outlive a reboot, in one
// of their own below Run, and no write of them waits for the disk.
type Records struct {
	dir     string
	passing bool
}

// Records names those of a container.
func (d Dirs) Records(id string, passing bool) Records {
	if passing {
		return Records{filepath.Join(d.Passing(), id), true}
	}
	return Records{string(d.Container(id)), false}
}

func (r Records) Config() string { return filepath.Join(r.dir, "config.json") }
func (r Records) State() string  { return filepath.Join(r.dir, "state.json") }

// Passing says whether a reboot may lose them.
func (r Records) Passing() bool { return r.passing }

// Make makes the directory for those that are not in the container's.
func (r Records) Make() error {
	if !r.passing {
		return nil
	}
	return os.MkdirAll(r.dir, 0o700)
}

// SaveConfig and SaveState replace a file, as WriteJSON or ReplaceJSON does.
func (r Records) SaveConfig(v any) error { return r.save(r.Config(), v) }

func (r Records) SaveState(v any) error { return r.save(r.State(), v) }

func (r Records) save(path string, v any) error { return writeJSON(path, v, !r.passing) }

// Remove removes the directory that Make made.
func (r Records) Remove() error {
	if !r.passing {
		return nil
	}
	return os.RemoveAll(r.dir)
}
