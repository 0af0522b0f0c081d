package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/abode-run/abode/internal/kernel"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, mounts string
		files        []string
		want         kernel.Limits
	}{
		{
			name: "v1", mounts: "1 2 0:1 / %[1]s/memory rw - cgroup cgroup rw,memory\n1 2 0:1 / %[1]s/blkio rw - cgroup cgroup rw,blkio\n",
			files: []string{"memory/memory.swappiness", "memory/memory.oom_control", "blkio/blkio.throttle.read_bps_device"},
			want:  kernel.Limits{Swappiness: true, OOMKillDisable: true, IOThrottle: true},
		},
		{
			name: "v1 of an old kernel", mounts: "1 2 0:1 / %[1]s/blkio rw - cgroup cgroup rw,blkio\n",
			files: []string{"blkio/blkio.weight", "blkio/blkio.weight_device"},
			want:  kernel.Limits{IOWeight: true, IOWeightDevice: true},
		},
		{
			name: "v2", mounts: "1 2 0:1 / %[1]s rw - cgroup2 cgroup2 rw\n",
			files: []string{"cgroup.controllers", "system.slice/io.max"},
			want:  kernel.Limits{IOThrottle: true},
		},
		{
			name: "v2 with costs", mounts: "1 2 0:1 / %[1]s rw - cgroup2 cgroup2 rw\n",
			files: []string{"cgroup.controllers", "system.slice/io.weight"},
			want:  kernel.Limits{IOThrottle: true, IOWeight: true},
		},
		{name: "nothing", mounts: "1 2 0:1 / / rw - ext4 /dev/vda rw\n"},
	} {
		dir := t.TempDir()
		for _, f := range c.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), []byte("cpu io memory\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := limitsOf(fmt.Sprintf(c.mounts, dir)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
