package engine

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// What is refused reads as a sentence, and a hint comes after it.
func TestRefusals(t *testing.T) {
	const no = " is not supported by this version of abode"
	umask := uint32(0o22)
	for want, h := range map[string]container.HostConfig{
		"joining another container's cgroup" + no: {Cgroup: "container:x"},
		"--cgroup-parent" + no:                    {Resources: container.Resources{CgroupParent: "x"}},
		"--storage-opt" + no:                      {StorageOpt: map[string]string{"size": "1g"}},
		"volume driver nfs" + no + ": mount what you need on the host and give the container its path": {VolumeDriver: "nfs"},
		"runtime runsc" + no + ": choose with --isolation":                                             {Runtime: "runsc"},
		"an initial umask" + no:                                                          {Umask: &umask},
		"real-time scheduling (--cpu-rt-runtime)" + no:                                   {Resources: container.Resources{CPURealtimeRuntime: 1}},
		"a device request such as --gpus" + no + ": name the device files with --device": {Resources: container.Resources{DeviceRequests: []container.DeviceRequest{{}}}},
		"a limit of Windows containers" + no:                                             {Resources: container.Resources{CPUPercent: 10}},
	} {
		err := checkUnsupported(&h)
		if err == nil || err.Error() != want || !errdefs.IsNotImplemented(err) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
