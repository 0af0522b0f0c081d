package engine

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// No isolation, and "default" in any case, are the engine's own.
func TestChoose(t *testing.T) {
	for _, def := range []kernel.Isolation{kernel.Container, kernel.VM} {
		e := &Engine{cfg: Config{DefaultIsolation: def}}
		e.walls.by = map[kernel.Isolation]kernel.Provider{kernel.Container: nil, kernel.VM: nil}
		for asked, want := range map[container.Isolation]kernel.Isolation{
			"": def, "default": def, "Default": def, "container": kernel.Container, "vm": kernel.VM, "VM": kernel.VM,
		} {
			if got, err := e.choose(asked); err != nil || got != want {
				t.Errorf("%q with default %s: got %s, want %s; error %v", asked, def, got, want, err)
			}
		}
		for _, bad := range []container.Isolation{"process", "hyperv", "vm "} {
			if got, err := e.choose(bad); !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q was taken for %s; error %v", bad, got, err)
			}
		}
	}
}
