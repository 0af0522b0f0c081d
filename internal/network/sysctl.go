package network

import (
	"fmt"
	"os"
	"strings"
)

// writeSysctl sets a value below /proc/sys/net. Interfaces may have dots in
// their names, so that elements are given one by one.
func writeSysctl(value string, elem ...string) error {
	path := "/proc/sys/net/" + strings.Join(elem, "/")
	// No O_CREATE: a kernel without the setting must not get past unnoticed.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set %s=%s: %w", path, value, err)
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("cannot set %s=%s: %w", path, value, err)
	}
	return nil
}

func readSysctl(elem ...string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/" + strings.Join(elem, "/"))
	return strings.TrimSpace(string(b)), err
}

// setBridgeSysctls prepares a bridge to route for its containers.
func setBridgeSysctls(name string) error {
	for _, s := range []struct{ key, value string }{
		{"forwarding", "1"},
		{"route_localnet", "1"}, // ports published on 127.0.0.1; the tables drop what guests send there
		{"rp_filter", "1"},      // senders on the bridge have its addresses
		{"send_redirects", "0"}, // a published port's way back leads over here
		{"accept_redirects", "0"},
		{"accept_source_route", "0"},
	} {
		if err := writeSysctl(s.value, "ipv4", "conf", name, s.key); err != nil {
			return err
		}
	}
	return nil
}
