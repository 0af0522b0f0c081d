package faults

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A log that grows while no daemon runs: the host's agent keeps its bound, and
// of a guest's the next daemon sees to it.
func TestLogGrowsWhileDaemonIsDown(t *testing.T) {
	const (
		last    = 300000
		written = 1988895 // bytes that seq prints
		bound   = 3 * 100_000
	)
	e := start(t)
	dir, path := t.TempDir(), map[string]string{}
	for _, isolation := range isolations {
		e.Abode(t, "run", "-d", "--isolation", isolation, "--name", isolation, "-v", dir+":/told:ro", "--log-opt", "max-size=100k", "--log-opt", "max-file=3",
			"busybox", "sh", "-c", "until [ -e /told/go ]; do sleep 0.1; done; seq 1 "+strconv.Itoa(last)+"; sleep 1000")
		path[isolation] = e.Abode(t, "inspect", "-f", "{{.LogPath}}", isolation)
	}
	kept := func(isolation string) (size, disk int64) {
		var st syscall.Stat_t
		if err := syscall.Stat(path[isolation], &st); err != nil {
			t.Fatal(err)
		}
		return st.Size, st.Blocks * 512
	}
	e.KillDaemon()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		eventually(t, isolation+" has written all", func() bool { size, _ := kept(isolation); return size >= written })
	}
	if _, disk := kept("container"); disk > bound+8192 {
		t.Errorf("%d bytes of the container's log are on disk without a daemon, want %d at most", disk, bound)
	}
	if err := e.StartDaemon(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		if _, disk := kept(isolation); disk > bound+8192 {
			t.Errorf("%s: %d bytes of the log are on disk, want %d at most", isolation, disk, bound)
		}
		lines := strings.Fields(e.Abode(t, "logs", isolation))
		if len(lines) < 20000 {
			t.Errorf("%s: only %d lines in the log", isolation, len(lines))
		}
		for i, l := range lines {
			if l != strconv.Itoa(last-len(lines)+1+i) {
				t.Errorf("%s: line %d of %d is %q", isolation, i, len(lines), l)
				break
			}
		}
	}
}
