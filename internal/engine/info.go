package engine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/kernel"
)

// Info is what Docker's info has no word for.
type Info struct {
	Version, Root, Run, Bridge string
	Kernel                     string // the host's release
	CgroupVersion              string
	DefaultIsolation           kernel.Isolation
	Isolations                 []IsolationInfo
	GuestKernel                string `json:",omitempty"` // the default one's release
}

// IsolationInfo describes one wall on this machine.
type IsolationInfo struct {
	Name        kernel.Isolation
	Available   bool
	Description string `json:",omitempty"` // of a VM: accelerator and why, guest kernel
	// Missing says why nothing can run behind this wall, with the command that
	// gets what is missing.
	Missing string `json:",omitempty"`
	Running int    // containers that are up
}

// AbodeInfo tells what the engine found on this machine.
func (e *Engine) AbodeInfo(ctx context.Context) (Info, error) {
	info := Info{
		Version: e.cfg.Version, Root: e.cfg.Root, Run: e.cfg.Run, Bridge: e.cfg.Bridge,
		Kernel: kernelRelease(), CgroupVersion: cgroupVersion(), DefaultIsolation: e.cfg.DefaultIsolation,
	}
	running := map[kernel.Isolation]int{}
	for _, c := range e.containers.all() {
		if rec, st := c.snapshot(); st.Phase.active() {
			running[rec.Isolation]++
		}
	}
	for _, name := range []kernel.Isolation{kernel.Container, kernel.VM} {
		p, ok := e.walls.by[name]
		if !ok {
			continue
		}
		can := p.Capabilities()
		i := IsolationInfo{Name: name, Available: can.Available == nil, Description: can.Description, Running: running[name]}
		if can.Available != nil {
			i.Missing, i.Description = plain(can.Available), ""
		}
		info.Isolations = append(info.Isolations, i)
	}
	if k, err := e.Kernels().Get(""); err == nil {
		info.GuestKernel = k.Release
	}
	return info, nil
}

// Info describes the engine as Docker's does.
func (e *Engine) Info(ctx context.Context) (system.Info, error) {
	var mem unix.Sysinfo_t
	if err := unix.Sysinfo(&mem); err != nil {
		return system.Info{}, fmt.Errorf("cannot ask the machine about its memory: %w", err)
	}
	images, err := e.images.List(ctx)
	if err != nil {
		return system.Info{}, err
	}
	host, _ := os.Hostname()
	name, version := osRelease()
	info := system.Info{
		ID:              e.identity(),
		Images:          len(images),
		Driver:          Driver,
		DriverStatus:    [][2]string{{"Layers", "one EROFS file each, shared by all isolations"}},
		MemoryLimit:     true,
		SwapLimit:       true,
		CPUCfsPeriod:    true,
		CPUCfsQuota:     true,
		CPUShares:       true,
		CPUSet:          true,
		PidsLimit:       true,
		IPv4Forwarding:  true,
		NGoroutines:     runtime.NumGoroutine(),
		NEventsListener: e.events.Listeners(),
		SystemTime:      time.Now().Format(time.RFC3339Nano),
		LoggingDriver:   e.logDefaults(container.LogConfig{}).Type,
		CgroupDriver:    "cgroupfs",
		CgroupVersion:   cgroupVersion(),
		KernelVersion:   kernelRelease(),
		OperatingSystem: name,
		OSVersion:       version,
		OSType:          "linux",
		Architecture:    machine(),
		NCPU:            runtime.NumCPU(),
		MemTotal:        int64(mem.Totalram) * int64(mem.Unit),
		DockerRootDir:   e.cfg.Root,
		Name:            host,
		ServerVersion:   e.cfg.Version,
		Runtimes:        map[string]system.RuntimeWithStatus{"abode": {Runtime: system.Runtime{Path: e.cfg.AgentBinary}}},
		DefaultRuntime:  "abode",
		Isolation:       container.Isolation(e.cfg.DefaultIsolation),
		SecurityOptions: []string{"name=seccomp,profile=builtin", "name=userns", "name=cgroupns"},
		Plugins: system.PluginsInfo{
			Volume: []string{"local"}, Network: []string{"bridge", "host", "null"}, Log: []string{logJSON, logLocal, logNone},
		},
		LiveRestoreEnabled: true,
		Labels:             []string{},
		Warnings:           []string{},
	}
	for _, c := range e.containers.all() {
		info.Containers++
		switch _, st := c.snapshot(); st.Phase {
		case phaseRunning:
			info.ContainersRunning++
		case phasePaused:
			info.ContainersPaused++
		default:
			info.ContainersStopped++
		}
	}
	return info, nil
}

// identity names this engine: it is the same for as long as the machine and
// the root directory are.
func (e *Engine) identity() string {
	machine, _ := os.ReadFile("/etc/machine-id") // without one the root is what tells engines apart
	sum := sha256.Sum256([]byte("abode engine " + string(machine) + e.cfg.Root))
	return hex.EncodeToString(sum[:16])
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func machine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// cgroupVersion tells where the controllers are: the memory controller is in
// hierarchy 0 when no version 1 hierarchy has it (cgroups(7)).
func cgroupVersion() string {
	b, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return "2"
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "memory" && f[1] != "0" {
			return "1"
		}
	}
	return "2"
}

// osRelease reads the distribution's name and version (os-release(5)).
func osRelease() (name, version string) {
	name = "Linux"
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return name, ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "PRETTY_NAME":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}
