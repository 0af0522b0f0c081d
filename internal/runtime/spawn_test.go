package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child that cannot go on is gone, and the caller hears why.
func TestSpawnFails(t *testing.T) {
	s, err := newSpawner()
	if err != nil {
		t.Fatal(err)
	}
	defer close(s.requests)
	full, child := errors.New("no room"), 0
	_, ctl, err := s.start(spawn{stage: stageInit, settle: func(pid int) error { child = pid; return full }})
	if !errors.Is(err, full) || ctl != nil {
		t.Errorf("got %v, %v", ctl, err)
	}
	if err := unix.Kill(child, 0); err != unix.ESRCH {
		t.Errorf("process %d is left: %v", child, err)
	}
	if _, _, err := s.start(spawn{stage: stageInit, cgroup: &cgroup{h: &hierarchies{}, all: []string{t.TempDir()}}}); err == nil {
		t.Error("it began in what is no cgroup")
	}
}

// A child that was cloned and never told to go on ends with this side, though
// it has copies of all descriptors until it executes.
func TestSpawnParentDies(t *testing.T) {
	if os.Getenv("ABODE_TEST_SPAWN") != "" {
		s, err := newSpawner()
		if err != nil {
			t.Fatal(err)
		}
		s.start(spawn{stage: stageInit, settle: func(pid int) error {
			fmt.Println(pid)
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		}})
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSpawnParentDies$")
	cmd.Env = append(os.Environ(), "ABODE_TEST_SPAWN=1")
	cmd.WaitDelay = 5 * time.Second // a child that lives has the output open
	out, _ := cmd.Output()
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	for deadline := time.Now().Add(10 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(b), ") Z ") {
			break // nobody reaps it here
		}
		if time.Now().After(deadline) {
			unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("process %d lives", pid)
		}
	}
}
