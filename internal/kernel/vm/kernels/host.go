package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// host is the kernel that the host runs, if a distribution's package put it
// into /boot with its modules.
func (s *Store) host() (Kernel, error) {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return Kernel{}, err
	}
	release := strings.TrimSpace(string(b))
	k := Kernel{
		Name: HostName, Release: release, Source: "the host's own",
		Image: filepath.Join(s.boot, "vmlinuz-"+release), Modules: filepath.Join(s.lib, release),
	}
	fi, err := os.Stat(k.Image)
	if err != nil {
		return Kernel{}, err
	}
	mi, err := os.Stat(k.Modules)
	if err != nil {
		return Kernel{}, err
	}
	if got, err := imageRelease(k.Image); err != nil || got != release {
		return Kernel{}, fmt.Errorf("%s is not the running kernel: %w", k.Image, errdefs.ErrNotFound)
	}
	// A package's files change only with its version: names, sizes and times say enough.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d %d", release, fi.Size(), fi.ModTime().UnixNano(), mi.ModTime().UnixNano()))
	k.SHA256 = hex.EncodeToString(sum[:])
	return k, nil
}
