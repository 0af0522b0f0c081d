package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// leftovers waits a moment for what was told to end, and then reports what is
// left of the engine outside its own folder.
func (e *Engine) leftovers() error {
	var found []string
	for range 50 {
		if found = e.Footprint(); len(found) == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the engine left behind:\n%s", strings.Join(found, "\n"))
}

// Footprint lists the processes, mounts and links of this engine.
func (e *Engine) Footprint() []string {
	var found []string
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err == nil && (strings.Contains(string(b), e.dir) || e.hypervisor(filepath.Dir(p), string(b))) {
			found = append(found, "process "+filepath.Base(filepath.Dir(p))+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, e.dir) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	links, _ := net.Interfaces()
	for _, l := range links {
		if strings.Contains(l.Name, strings.TrimPrefix(e.Bridge, "abt")) {
			found = append(found, "link "+l.Name)
		}
	}
	aliases, _ := filepath.Glob("/sys/class/net/*/ifalias") // of bridges: their state directories
	for _, a := range aliases {
		if b, err := os.ReadFile(a); err == nil && strings.Contains(string(b), e.Run) {
			found = append(found, "link "+filepath.Base(filepath.Dir(a)))
		}
	}
	return found
}

// hypervisor reports whether a process is one of this engine's guests. It has
// its files as open descriptors; none of their names is in its arguments.
func (e *Engine) hypervisor(proc, cmdline string) bool {
	if !strings.Contains(cmdline, "qemu-system") {
		return false
	}
	fds, _ := filepath.Glob(proc + "/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, e.dir) {
			return true
		}
	}
	return false
}
