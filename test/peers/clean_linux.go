package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// sweep removes the folders and cgroups of runs that were killed.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		if lock, err := lockDir(dir); err == nil {
			clean(dir)
			lock.Close()
		}
	}
}

// lockDir fails when the folder is of a run that goes on.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	return f, nil
}

// clean removes what the end of the sandbox leaves.
func clean(dir string) {
	removeCgroups(cgroupName(dir))
	for _, engine := range []string{engineFolder, plainFolder} {
		removeCgroups(bridgeName(dir) + engine[:1])
	}
	os.RemoveAll(dir)
}

// removeCgroups removes those of this name in each hierarchy. All their
// processes have ended with the sandbox.
func removeCgroups(name string) {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	for _, top := range append(v1, "/sys/fs/cgroup/"+name) {
		for range 20 {
			if removeTree(top); !exists(top) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// removeTree removes a folder's folders, innermost first: the files of a
// cgroup go with it.
func removeTree(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()))
		}
	}
	os.Remove(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
