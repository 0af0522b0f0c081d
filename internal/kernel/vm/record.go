package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// recordName is the file in a placement's run directory by which a later
// daemon finds the guest.
const recordName = "vm.json"

// record is what is kept about a running guest.
type record struct {
	Version    int
	ID         string
	BootID     string // of the host: process IDs mean nothing after a boot
	Hypervisor process
	Share      *process `json:",omitempty"` // the share helper
	Template   bool     // whether it began from one
}

func hostBootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func (r record) write(runDir string) error {
	r.Version, r.BootID = 1, hostBootID()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file := filepath.Join(runDir, recordName)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return fmt.Errorf("cannot record the virtual machine: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("cannot record the virtual machine: %w", err)
	}
	return nil
}

func readRecord(runDir, id string) (record, error) {
	var r record
	b, err := os.ReadFile(filepath.Join(runDir, recordName))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("cannot read %s: %w", recordName, err)
	}
	if r.Version != 1 || r.ID != id || r.BootID != hostBootID() {
		return r, fmt.Errorf("%s is not about a guest of now", recordName)
	}
	return r, nil
}

// removeFiles removes what a guest had in its run directory.
func removeFiles(runDir string) {
	for _, n := range []string{recordName, recordName + ".new", agentSocket, shareSocket} {
		os.Remove(filepath.Join(runDir, n))
	}
}
