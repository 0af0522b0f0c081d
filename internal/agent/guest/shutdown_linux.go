package guest

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime is how long the guest lives on after it has written everything
// out, for its answer to reach the daemon. The daemon does not wait for it.
const answerTime = 300 * time.Millisecond

var powerOff sync.Once

// shutdown leaves the disks clean and powers off soon after.
func shutdown(log *slog.Logger) error {
	unix.Sync()
	unmountAll(log)
	unix.Sync()
	powerOff.Do(func() {
		time.AfterFunc(answerTime, func() {
			// Through ACPI's sleep control register, which ends the hypervisor;
			// a reset does too, as the hypervisor is told not to reboot.
			err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
			log.Error("the guest does not power off", "err", errors.Join(err, unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)))
		})
	})
	return nil
}

// unmountAll unmounts what is not the system's own, last mounted first. What is
// busy is detached and, on a disk, made read-only, which writes it out too.
func unmountAll(log *slog.Logger) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		log.Warn("cannot read the mounts", "err", err)
		return
	}
	var targets []string
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) > 4 {
			targets = append(targets, unescape(f[4]))
		}
	}
	slices.Reverse(targets)
	for _, t := range targets {
		if t == "/" || slices.ContainsFunc(systemMounts, func(m mount) bool { return m.target == t }) {
			continue
		}
		if err := unix.Unmount(t, unix.UMOUNT_NOFOLLOW); err != nil {
			// What stays writable is written out by the sync that follows.
			_ = unix.Mount("", t, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
			unix.Unmount(t, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
}

// unescape undoes the octal escapes of proc_pid_mountinfo(5).
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
