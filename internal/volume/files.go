package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, metaFile), b); err != nil {
		return err
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, v.Name)); err != nil {
		return err
	}
	done = true
	return syncDir(s.dir)
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
	return tmp, syncDir(s.dir)
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
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
