package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// portDir gets a link for every virtio-serial port, by its name, as udev makes
// on other systems.
const portDir = "/dev/virtio-ports"

// Names of the ports that the hypervisor gives a guest.
const (
	AgentPort = "abode.agent" // the channel to the daemon
	LogPort   = "abode.log"   // where the workload's output is written
	SharePort = "abode.share" // the FUSE relay
)

// linkPorts waits until the ports are there (the host names them by messages)
// and links them.
func linkPorts(names ...string) error {
	if err := os.MkdirAll(portDir, 0o755); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		found := map[string]string{}
		files, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				found[strings.TrimSpace(string(b))] = filepath.Base(filepath.Dir(f))
			}
		}
		missing := ""
		for _, n := range names {
			if found[n] == "" {
				missing = n
			}
		}
		if missing == "" {
			for _, n := range names {
				if err := os.Symlink("../"+found[n], filepath.Join(portDir, n)); err != nil {
					return err
				}
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("virtio port %s did not appear", missing)
		}
	}
}
