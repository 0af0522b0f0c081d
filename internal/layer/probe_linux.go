package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// readsCompressed tells whether the kernel mounts layers with compressed files.
// It tries with one that it makes in dir: there is no other way to know. If it
// may not mount anything, the answer is no.
func readsCompressed(dir string) bool {
	f, err := os.CreateTemp(dir, tmpPrefix+"*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	content := strings.Repeat("this can be compressed\n", 4096)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o444, Size: int64(len(content))}); err != nil {
		return false
	}
	if _, err := w.Write([]byte(content)); err != nil || w.Close() != nil {
		return false
	}
	if _, err := erofs.FromTar(context.Background(), f, &b, erofs.Options{Compress: true}); err != nil {
		return false
	}
	return tryMount(f) == nil
}

// tryMount mounts the file system in f where nobody sees it, and unmounts it:
// from the file where the kernel can (Linux 6.12), else from a loop device.
func tryMount(f *os.File) error {
	err := tryMountFrom(f.Name())
	if !errors.Is(err, unix.ENOTBLK) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	for range 8 { // another process may be faster
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("/dev/loop%d", n)
		device, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{
			Fd:   uint32(f.Fd()),
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			err = tryMountFrom(name)
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return unix.EBUSY
}

// tryMountFrom is tryMount from a path.
func tryMountFrom(source string) error {
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return err
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return err
	}
	return unix.FsconfigCreate(fs)
}
