package engine

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// linuxDevices looks the host's devices up that a container is given. A
// directory stands for all devices below it.
func linuxDevices(mappings []container.DeviceMapping) ([]specs.LinuxDevice, error) {
	var list []specs.LinuxDevice
	for _, m := range mappings {
		target := m.PathInContainer
		if target == "" {
			target = m.PathOnHost
		}
		source, err := filepath.EvalSymlinks(m.PathOnHost)
		if err != nil {
			return nil, invalid("error gathering device information while adding custom device %q: %v", m.PathOnHost, err)
		}
		found := len(list)
		err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&os.ModeDevice == 0 {
				return err
			}
			rel, err := filepath.Rel(source, p)
			if err != nil {
				return err
			}
			dev, err := linuxDevice(p, path.Join(target, rel))
			if err == nil {
				list = append(list, dev)
			}
			return err
		})
		if err == nil && len(list) == found {
			err = fmt.Errorf("not a device node")
		}
		if err != nil {
			return nil, invalid("error gathering device information while adding custom device %q: %v", m.PathOnHost, err)
		}
	}
	return list, nil
}

func linuxDevice(source, target string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		return specs.LinuxDevice{}, err
	}
	kind := "c"
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	mode := os.FileMode(st.Mode & 0o777)
	return specs.LinuxDevice{
		Path: target, Type: kind, FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
	}, nil
}
