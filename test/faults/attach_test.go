package faults

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A client that attaches and does not read holds up what the workload writes,
// and not its end.
func TestStuckAttacher(t *testing.T) {
	e := start(t)
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			name := "flood-" + isolation
			e.Abode(t, "run", "-d", "--isolation", isolation, "--name", name, "busybox", "yes")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			attach := e.Command(t.Context(), "attach", name)
			attach.Stdout = w
			err = attach.Start()
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = attach.Process.Kill(); _ = attach.Wait() }()
			eventually(t, "the pipe is full", func() bool { return full(r) })
			e.Abode(t, "kill", name)
			if got := e.Abode(t, "wait", name); got != "137" {
				t.Errorf("exit code %s", got)
			}
			if got := e.Abode(t, "inspect", "-f", "{{.State.Error}}", name); got != "" {
				t.Errorf("it ended so: %s", got)
			}
			e.Abode(t, "rm", name)
		})
	}
}

// full says whether a pipe holds as much as one does.
func full(r *os.File) bool {
	n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
	return err == nil && n >= 60<<10
}
