package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/abode-run/abode/internal/state"
)

// write puts v on disk: all of it is made beside its place and synced, then
// renamed into it.
func (s *Store) write(v Volume) error {
	tmp, err := os.MkdirTemp(s.dir, newGlob)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = os.RemoveAll(tmp)
		}
	}()
	if err := os.Mkdir(filepath.Join(tmp, dataDir), 0o755); err != nil {
		return err
	}
	if err := state.WriteJSON(filepath.Join(tmp, metaFile), v); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, v.Name)); err != nil {
		return err
	}
	done = true
	return state.SyncDir(s.dir)
}

// take renames a volume's directory so that the volume no longer exists, and
// returns where it is now, for os.RemoveAll.
func (s *Store) take(name string) (string, error) {
	// A directory of its own makes the new name free whatever was left before.
	tmp, err := os.MkdirTemp(s.dir, oldGlob)
	if err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(tmp, name)); err != nil {
		_ = os.Remove(tmp)
		return "", err
	}
	return tmp, state.SyncDir(s.dir)
}

// Usage adds up the apparent sizes of what is in a volume, in bytes, files
// with several names once. It takes time in proportion to the number of files,
// and does not follow symbolic links.
func (s *Store) Usage(name string) (int64, error) {
	v, err := s.Get(name)
	if err != nil {
		return 0, err
	}
	n, err := usage(v.Mountpoint)
	if err != nil {
		return n, fmt.Errorf("cannot measure volume %q: %w", name, err)
	}
	return n, nil
}

func usage(dir string) (int64, error) {
	var total int64
	seen := map[[2]uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a container removed it meanwhile
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if key := [2]uint64{uint64(st.Dev), st.Ino}; st.Nlink > 1 && !info.IsDir() {
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		if info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}
