package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestDeviceProgram restricts a cgroup of this kernel's v2 mount, which device
// programs work on also when the controllers are in v1.
func TestDeviceProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			root = dir
			break
		}
	}
	if root == "" {
		t.Skip("no cgroup v2 mount")
	}
	seven, three := int64(1), int64(3)
	for name, c := range map[string]struct {
		linux *specs.Linux
		want  string
	}{
		"default":    {&specs.Linux{}, "null kmsg-denied loop-control-denied"},
		"one device": {&specs.Linux{Devices: []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}}}, "null kmsg loop-control-denied"},
		"all":        {&specs.Linux{Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}}, "null kmsg loop-control"},
		"taken away": {&specs.Linux{Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Major: &seven, Minor: &three, Access: "rwm"}}}}, "null-denied kmsg-denied loop-control-denied"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, fmt.Sprintf("abode-devices-%d-%s", os.Getpid(), strings.ReplaceAll(name, " ", "-")))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			defer RemoveCgroup(t.Context(), dir)
			rules, err := deviceProgram(c.linux)
			if err != nil {
				t.Fatal(err)
			}
			if err := attachDevices(dir, rules); err != nil {
				t.Fatal(err)
			}
			script := "echo $$ > " + dir + "/cgroup.procs; for d in null kmsg loop-control; do if (exec 3</dev/$d) 2>/dev/null; then echo $d; else echo $d-denied; fi; done"
			out, err := exec.Command("sh", "-c", script).Output()
			if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != c.want {
				t.Errorf("got %q, want %q (%v)", got, c.want, err)
			}
		})
	}
}
