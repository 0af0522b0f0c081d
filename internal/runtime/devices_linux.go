package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// defaultDevices are those of the OCI runtime specification, config-linux.md.
var defaultDevices = []specs.LinuxDevice{
	{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
	{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
	{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
	{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
	{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
	{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
}

var devLinks = map[string]string{
	"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	"ptmx": "pts/ptmx", "core": "/proc/kcore",
}

// ownDirs of /dev are mounts that each container has for itself.
var ownDirs = []string{"pts", "shm", "mqueue"}

// deviceTree makes a container's /dev, detached. The agent fills it, because a
// user namespace may not make device nodes; they work all the same, since the
// file system belongs to this kernel's own.
func deviceTree(extra []specs.LinuxDevice, uids, gids []specs.LinuxIDMapping) (fd int, err error) {
	fd, err = fsMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_STRICTATIME, "mode=0755", "size=65536k")
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	root := func(f func() error) error {
		if err := f(); err != nil {
			return fmt.Errorf("cannot fill /dev: %w", err)
		}
		return nil
	}
	uid, gid := mapID(uids, 0), mapID(gids, 0)
	if err := root(func() error { return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH) }); err != nil {
		return fd, err
	}
	for name, to := range devLinks {
		if err := root(func() error {
			if err := unix.Symlinkat(to, fd, name); err != nil {
				return err
			}
			return unix.Fchownat(fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		}); err != nil {
			return fd, err
		}
	}
	for _, name := range ownDirs {
		if err := root(func() error {
			if err := unix.Mkdirat(fd, name, 0o755); err != nil {
				return err
			}
			return unix.Fchownat(fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		}); err != nil {
			return fd, err
		}
	}
	for _, d := range append(defaultDevices[:len(defaultDevices):len(defaultDevices)], extra...) {
		if err := makeDevice(fd, d, uids, gids); err != nil {
			return fd, fmt.Errorf("cannot make the device %s: %w", d.Path, err)
		}
	}
	return fd, nil
}

// allDevices lists the device nodes of the tree at dir as they are, but for
// terminals of pts and what a container has of its own.
func allDevices(dir string) ([]specs.LinuxDevice, error) {
	var list []specs.LinuxDevice
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(p, dir+"/")
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
			return nil
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(ownDirs, rel):
			return fs.SkipDir
		case d.Type()&fs.ModeDevice == 0 || rel == "ptmx" || rel == "console":
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return nil // gone meanwhile
		}
		kind, mode := "b", fs.FileMode(st.Mode&0o777)
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			kind = "c"
		}
		list = append(list, specs.LinuxDevice{
			Path: "/dev/" + rel, Type: kind, FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
			Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		})
		return nil
	})
	return list, err
}

func makeDevice(dev int, d specs.LinuxDevice, uids, gids []specs.LinuxIDMapping) error {
	rel, ok := strings.CutPrefix(path.Clean(d.Path), "/dev/")
	if !ok || rel == "" {
		return errorf(agent.ClassInvalid, "devices are made below /dev alone")
	}
	kinds := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}
	kind, ok := kinds[d.Type]
	if !ok {
		return errorf(agent.ClassInvalid, "devices of type %q are not supported", d.Type)
	}
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm())
	}
	owner := func(id *uint32, maps []specs.LinuxIDMapping) int {
		if id == nil {
			return mapID(maps, 0)
		}
		if n := mapID(maps, int(*id)); n >= 0 {
			return n
		}
		return mapID(maps, 0)
	}
	for i, c := range rel {
		if c == '/' {
			if err := unix.Mkdirat(dev, rel[:i], 0o755); err != nil && err != unix.EEXIST {
				return err
			}
			if err := unix.Fchownat(dev, rel[:i], mapID(uids, 0), mapID(gids, 0), unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
		}
	}
	err := unix.Mknodat(dev, rel, kind|mode, int(unix.Mkdev(uint32(d.Major), uint32(d.Minor))))
	if os.IsExist(err) { // one of the defaults, wanted in another way
		if err = unix.Unlinkat(dev, rel, 0); err == nil {
			err = unix.Mknodat(dev, rel, kind|mode, int(unix.Mkdev(uint32(d.Major), uint32(d.Minor))))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Fchmodat(dev, rel, mode, 0); err != nil {
		return err
	}
	return unix.Fchownat(dev, rel, owner(d.UID, uids), owner(d.GID, gids), unix.AT_SYMLINK_NOFOLLOW)
}
