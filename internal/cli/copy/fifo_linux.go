package copy

import (
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// mkfifo makes a named pipe below root; os.Root has no method for it. The
// parent is opened through root, so that no link leads out.
func mkfifo(root *os.Root, name string, mode fs.FileMode) error {
	dir, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mkfifoat(int(dir.Fd()), path.Base(name), uint32(mode))
}
