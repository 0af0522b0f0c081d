package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/kernel/vm/accel"
	"github.com/abode-run/abode/internal/kernel/vm/initramfs"
	"github.com/abode-run/abode/internal/kernel/vm/kernels"
	"github.com/containerd/errdefs"
)

// machineLayout changes with everything about a guest's devices, parameters
// or disks that templates made before would not fit.
const machineLayout = "2"

const (
	// defaultMemory is what a workload gets that asks for nothing.
	defaultMemory = 1 << 30
	// guestReserve is what the guest's kernel and agent need beside the
	// workload, and 1/reserveShare of it for what the kernel keeps about each
	// page: measured, see TestMemoryIsEnough.
	guestReserve = 96 << 20
	reserveShare = 64
	memoryStep   = 64 << 20
)

// A shape is all that a template depends on.
type shape struct {
	kernel    kernels.Kernel
	initramfs string
	qemu      tool
	accel     accel.Choice
	cpus      int
	memory    int64  // bytes of guest memory
	key       string // names its template
}

// shape says what machine a placement needs.
func (p *Provider) shape(pl kernel.Placement) (shape, error) {
	if err := p.available(); err != nil {
		return shape{}, err
	}
	k, err := p.kernels.Get(p.cfg.Kernel)
	if err != nil {
		return shape{}, err
	}
	a, err := p.agent()
	if err != nil {
		return shape{}, err
	}
	s := shape{kernel: k, qemu: p.hypervisor(), accel: p.accelerator()}
	if s.cpus, err = guestCPUs(pl.CPUs); err != nil {
		return shape{}, err
	}
	if s.memory, err = guestMemory(pl.Memory); err != nil {
		return shape{}, err
	}
	if s.initramfs, err = initramfs.Build(filepath.Join(p.cfg.Root, "vm"), k, a.path, a.sum); err != nil {
		return shape{}, err
	}
	s.key = s.templateKey()
	return s, nil
}

// guestCPUs is the number of whole CPUs that hold the given share of them.
func guestCPUs(cpus float64) (int, error) {
	if cpus < 0 || math.IsNaN(cpus) || math.IsInf(cpus, 0) {
		return 0, fmt.Errorf("%v CPUs cannot be had: %w", cpus, errdefs.ErrInvalidArgument)
	}
	return max(1, min(int(math.Ceil(cpus)), runtime.NumCPU())), nil
}

// guestMemory is what a guest needs for a workload with the given memory.
func guestMemory(workload int64) (int64, error) {
	if workload == 0 {
		workload = defaultMemory
	}
	host := hostMemory()
	if workload < 0 || host > 0 && workload > host {
		return 0, fmt.Errorf("cannot give a virtual machine %d MiB of memory: the host has %d MiB: %w", workload>>20, host>>20, errdefs.ErrInvalidArgument)
	}
	return (workload + workload/reserveShare + guestReserve + memoryStep - 1) / memoryStep * memoryStep, nil
}

// hostMemory is the host's memory in bytes, or 0 when it is unknown.
func hostMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kb int64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// templateKey names the shape's template. The clock's frequency is not part of
// it, as each measurement differs by a few millionths; the host's CPU is.
func (s shape) templateKey() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s\n%d\n%d\n%s\n", machineLayout, s.kernel.SHA256, filepath.Base(s.initramfs), s.qemu.stamp, s.accel.Name, s.cpus, s.memory, hostCPU())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// hostCPU identifies the model and features of the host's CPU.
var hostCPU = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	var id strings.Builder
	for line := range strings.Lines(string(b)) {
		if line == "\n" {
			break // of the first CPU
		}
		if k, v, _ := strings.Cut(line, ":"); strings.HasPrefix(k, "model name") || strings.HasPrefix(k, "flags") {
			id.WriteString(v)
		}
	}
	return id.String()
})

// commandLine is what the guest's kernel is told. The console is a port that
// the host keeps the first 64 KiB of. A panic resets, which ends the
// hypervisor. tscKHz is 0 when the guest has to find out by itself.
func (s shape) commandLine(tscKHz int64) string {
	args := []string{
		"console=ttyS0", "quiet", "loglevel=4", "panic=-1", "reboot=t", "8250.nr_uarts=1",
		"cgroup_no_v1=all", "lsm=landlock", "audit=0", "nowatchdog", "rcupdate.rcu_expedited=1",
		"random.trust_cpu=on", "swiotlb=noforce",
	}
	if s.accel.Name == accel.TCG {
		// Nothing is speculated in emulation, so there is nothing to mitigate.
		args = append(args, "mitigations=off", "no_timer_check", "transparent_hugepage=never")
		if tscKHz > 0 {
			args = append(args, fmt.Sprintf("tsc_early_khz=%d", tscKHz), "tsc=reliable")
		}
	}
	if s.accel.Name == accel.KVM {
		args = append(args, "transparent_hugepage=madvise")
	}
	return strings.Join(args, " ")
}
