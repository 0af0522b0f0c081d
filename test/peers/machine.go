package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A machine is what the figures are of.
type machine struct {
	CPU, Kernel, System, Cgroups, KVM, Disk string
	Cores                                   int
	MemoryMiB                               float64
	Load                                    string // when the run began
}

func describeMachine() machine {
	m := machine{
		CPU: value("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		System: strings.Trim(value("/etc/os-release", "PRETTY_NAME"), `"`),
		KVM:    "no /dev/kvm",
	}
	var kb float64
	_, _ = fmt.Sscan(value("/proc/meminfo", "MemTotal"), &kb)
	m.MemoryMiB = kb / 1024
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	switch v1, _ := filepath.Glob("/sys/fs/cgroup/memory/cgroup.procs"); {
	case exists("/sys/fs/cgroup/cgroup.controllers"):
		m.Cgroups = "v2"
	case len(v1) > 0:
		m.Cgroups = "v1"
	}
	if exists("/dev/kvm") {
		m.KVM = "/dev/kvm is there; nobody has tried it"
	}
	var fs unix.Statfs_t
	if unix.Statfs(os.TempDir(), &fs) == nil {
		m.Disk = fmt.Sprintf("%s is on %s", os.TempDir(), fileSystem(fs.Type))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	return m
}

func fileSystem(magic int64) string {
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs"}
	if n := names[magic]; n != "" {
		return n
	}
	return fmt.Sprintf("a file system of type %#x", magic)
}

// value is that of the first line "KEY: VALUE" or "KEY=VALUE" of a file.
func value(file, key string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		k, v, found := strings.Cut(line, ":")
		if !found || strings.Contains(k, "=") {
			k, v, _ = strings.Cut(line, "=")
		}
		if strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// facts are the machine's description in lines.
func (m machine) facts() [][2]string {
	return [][2]string{
		{"CPU", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)}, {"memory", fmt.Sprintf("%.0f MiB", m.MemoryMiB)},
		{"system", m.System}, {"kernel", m.Kernel}, {"cgroups", m.Cgroups}, {"KVM", m.KVM}, {"disk", m.Disk}, {"load at the start", m.Load},
	}
}
