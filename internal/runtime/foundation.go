package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// A foundation is what a container stands on, see agent.Foundation: a
// directory of the agent's, users that are mapped, the root file system, and in
// that, made by the first process, /proc, /dev and /sys. A blank may have it
// ahead; else Create lays it.
type foundation struct {
	of     agent.Foundation
	dir    string
	userNS *os.File // nil: this kernel's
	fs     *rootfs  // nil: not laid yet
	dev    int      // the file system of /dev; -1: not made yet
}

// survey begins a foundation: it maps the users of b and lets its first process
// set up namespaces, those of own.
func (r *Runtime) survey(b *blank, own int, joined bool, of agent.Foundation) (*foundation, error) {
	f := &foundation{of: of, dir: filepath.Join(r.cfg.Dir, "containers", b.name), dev: -1}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the container's directory: %w", err)
	}
	if err := f.begin(b, own, joined); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *foundation) begin(b *blank, own int, joined bool) (err error) {
	if own&unix.CLONE_NEWUSER != 0 {
		if err := writeMaps(b.pid, f.of.UIDMappings, f.of.GIDMappings); err != nil {
			return err
		}
	}
	if own&unix.CLONE_NEWUSER != 0 || joined {
		if f.userNS, err = os.Open(procPath(b.pid, "ns/user")); err != nil {
			return fmt.Errorf("cannot open the user namespace: %w", err)
		}
	}
	return b.ctl.send(stageStep{Namespaces: &namespaceStep{
		UserNS: f.userNS != nil, NewCgroup: own&unix.CLONE_NEWCGROUP != 0, NewNet: own&unix.CLONE_NEWNET != 0,
	}})
}

// writeMaps maps the users of a user namespace, which can be done once.
func writeMaps(pid int, uids, gids []specs.LinuxIDMapping) error {
	for file, maps := range map[string][]specs.LinuxIDMapping{"uid_map": uids, "gid_map": gids} {
		var b strings.Builder
		for _, m := range maps {
			fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
		}
		if err := os.WriteFile(procPath(pid, file), []byte(b.String()), 0); err != nil {
			return errorf(agent.ClassInvalid, "cannot map the user namespace: %w", err)
		}
	}
	return nil
}

// lay stacks the root file system, makes /dev and empty files and hands all to
// the first process. cgroups are what it shows of them. up is an interface, or
// empty; sys a /sys for it, or -1.
func (r *Runtime) lay(b *blank, f *foundation, cgroups []cgroupView, up string, sys int) (err error) {
	defer closeAll([]int{sys})
	userns := -1
	if f.userNS != nil {
		userns = int(f.userNS.Fd())
	}
	uids, gids := f.of.UIDMappings, f.of.GIDMappings
	if f.fs, err = r.mountRootfs(f.dir, f.of.Rootfs, userns, mapID(uids, 0), mapID(gids, 0)); err != nil {
		return err
	}
	var devices []specs.LinuxDevice
	if f.of.Privileged {
		if devices, err = allDevices("/dev"); err != nil {
			return fmt.Errorf("cannot list the devices: %w", err)
		}
	}
	if f.dev, err = deviceTree(devices, uids, gids); err != nil {
		return err
	}
	step := &foundationStep{
		Privileged: f.of.Privileged, Up: up, Cgroups: cgroups, Sysctl: f.of.Sysctl,
		hidden: hidden{Masked: f.of.MaskedPaths, Readonly: f.of.ReadonlyPaths},
	}
	fds := []int{f.fs.mount, f.dev}
	var files []int
	defer func() {
		closeAll(files)
		closeAll(fds[:1]) // the container's own mount from here on
		f.fs.mount = -1
	}()
	for i, file := range f.of.Files {
		fd, err := r.makeFile(f, i, file)
		if err != nil {
			return fmt.Errorf("cannot prepare the file %s: %w", file.Path, err)
		}
		step.Files, files = append(step.Files, file.Path), append(files, fd)
	}
	fds = append(fds, files...)
	if sys >= 0 {
		step.Sys, fds = true, append(fds, sys)
	}
	_ = b.ctl.send(stageStep{Foundation: step}, fds...) // a stage that has failed by now has said why
	return nil
}

// filePath is where file i of a container is kept beside it.
func filePath(dir string, i int) string { return filepath.Join(dir, "files", strconv.Itoa(i)) }

// makeFile makes an empty file, or takes another container's, and returns a
// mount of it.
func (r *Runtime) makeFile(f *foundation, i int, file agent.File) (int, error) {
	p := filePath(f.dir, i)
	if err := os.Mkdir(filepath.Dir(p), 0o700); err != nil && !os.IsExist(err) {
		return -1, err
	}
	if file.Of != "" {
		if err := r.linkFile(file, p); err != nil {
			return -1, err
		}
		return cloneTree(unix.AT_FDCWD, p, false)
	}
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		return -1, err
	}
	if err := os.Chown(p, mapID(f.of.UIDMappings, 0), mapID(f.of.GIDMappings, 0)); err != nil {
		return -1, err
	}
	mode := file.Mode & 0o777
	if mode == 0 {
		mode = 0o644
	}
	if err := os.Chmod(p, os.FileMode(mode)); err != nil {
		return -1, err
	}
	return cloneTree(unix.AT_FDCWD, p, false)
}

// fill writes the files.
func (f *foundation) fill(files []agent.File) error {
	for i, file := range files {
		if file.Of != "" {
			continue
		}
		w, err := os.OpenFile(filePath(f.dir, i), os.O_WRONLY, 0)
		if err == nil {
			_, err = w.Write(file.Content)
			w.Close()
		}
		if err != nil {
			return fmt.Errorf("cannot write the file %s: %w", file.Path, err)
		}
	}
	return nil
}

// addDevices makes further nodes in /dev.
func (f *foundation) addDevices(devices []specs.LinuxDevice) error {
	for _, d := range devices {
		if err := makeDevice(f.dev, d, f.of.UIDMappings, f.of.GIDMappings); err != nil {
			return fmt.Errorf("cannot make the device %s: %w", d.Path, err)
		}
	}
	return nil
}

// is says whether it is what a container wants.
func (f *foundation) is(want agent.Foundation) bool {
	return reflect.DeepEqual(f.of, want) && f.writable() == nil
}

// sync writes out what the foundation has made on its disk: where the host's is
// full, that is better known before a container has it.
func (f *foundation) sync() error {
	fd, err := unix.Open(f.fs.upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("cannot write to the writable disk: %w", err)
	}
	return f.writable()
}

// writable fails when the kernel has made the disk read-only, because it could
// not be written to.
func (f *foundation) writable() error {
	var st unix.Statfs_t
	if err := unix.Statfs(f.fs.upper, &st); err != nil {
		return err
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("cannot write to the writable disk: %w", unix.EROFS)
	}
	return nil
}

// close gives all back. The process that uses it must have ended.
func (f *foundation) close() error {
	closeAll([]int{f.dev})
	f.dev = -1
	if f.userNS != nil {
		f.userNS.Close()
	}
	if f.fs != nil {
		f.fs.close()
		f.fs = nil
	}
	dropShm(f.dir)
	return removeDir(f.dir)
}

// vacant waits until nobody has the writable disk mounted any more: who takes
// it for another container's must not have an older one's journal written to it.
func (f *foundation) vacant(ctx context.Context) error {
	disk := f.of.Rootfs.Upper.Device
	if disk == "" {
		return nil
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		// O_EXCL of a block device fails while it is mounted (open(2)).
		fd, err := unix.Open(disk, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err == nil {
			return unix.Close(fd)
		}
		if err != unix.EBUSY || ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("cannot have the disk %s back: %w", disk, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
