// Package accel finds out how a hypervisor can run guests on this machine.
// That /dev/kvm opens says little: hosts that are paravirtual guests
// themselves offer it and then run a stock kernel a million times too slowly.
// So a guest of three instructions is run, under a deadline.
package accel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Names of accelerators, as QEMU has them.
const (
	KVM = "kvm"
	TCG = "tcg"
)

// A Choice is an accelerator and the reason for it, in words for people.
type Choice struct {
	Name   string
	Reason string
	// KVMGroup is the group that may open /dev/kvm, or -1 when everybody may.
	KVMGroup int
}

// deadline is more than ten times what the loop takes where KVM works, even
// nested in emulation (9 ms), and a fraction of what it takes where it does not (1 s).
const deadline = 200 * time.Millisecond

type cached struct {
	BootID string
	Mode   os.FileMode // of /dev/kvm: a change of rights asks for another probe
	GID    uint32
	Choice Choice
}

// Choose returns the accelerator for this machine. What was measured is kept in
// dir and is valid until the next boot.
func Choose(dir string) Choice {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	bootID := strings.TrimSpace(string(boot))
	fi, err := os.Stat("/dev/kvm")
	if err != nil || runtime.GOARCH != "amd64" {
		return Choice{Name: TCG, Reason: "this machine offers no /dev/kvm", KVMGroup: -1}
	}
	now := cached{BootID: bootID, Mode: fi.Mode(), GID: gid(fi)}
	file := filepath.Join(dir, "accelerator.json")
	var old cached
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &old) == nil && bootID != "" &&
		old.BootID == now.BootID && old.Mode == now.Mode && old.GID == now.GID {
		return old.Choice
	}
	now.Choice = decide(fi)
	if b, err := json.Marshal(now); err == nil && os.MkdirAll(dir, 0o700) == nil {
		if os.WriteFile(file+".new", b, 0o600) == nil {
			_ = os.Rename(file+".new", file) // else it is measured again
		}
	}
	return now.Choice
}

func decide(fi os.FileInfo) Choice {
	took, err := probe(deadline)
	switch {
	case errors.Is(err, errTooSlow):
		return Choice{TCG, fmt.Sprintf("/dev/kvm is there, but ran a loop of a million iterations for more than %v: too slow for a kernel", deadline), -1}
	case err != nil:
		return Choice{TCG, "/dev/kvm cannot be used: " + err.Error(), -1}
	}
	group, ok := access(fi)
	if !ok {
		return Choice{TCG, fmt.Sprintf("/dev/kvm works, but only root may open it and hypervisors do not run as root: chgrp kvm /dev/kvm; chmod 660 /dev/kvm (mode %v)", fi.Mode().Perm()), -1}
	}
	return Choice{KVM, fmt.Sprintf("/dev/kvm works (a million iterations in %v)", took.Round(time.Millisecond)), group}
}

// access says by which group a process that is not root may open the device.
func access(fi os.FileInfo) (group int, ok bool) {
	switch mode := fi.Mode().Perm(); {
	case mode&0o006 == 0o006:
		return -1, true
	case mode&0o060 == 0o060 && gid(fi) != 0:
		return int(gid(fi)), true
	}
	return -1, false
}
