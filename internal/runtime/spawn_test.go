package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
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

// A child without a copy of the memory becomes the workload, tells why it
// cannot, and takes nobody with it when it is killed.
func TestVfork(t *testing.T) {
	s, err := newSpawner()
	if err != nil {
		t.Fatal(err)
	}
	begin := func(args ...string) (int, *execChild) {
		t.Helper()
		w, err := newWorkload(&processConfig{Args: args, Stdio: [3]int{-1, -1, -1}, Slave: -1, Reaper: -1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sp := spawn{settle: func(pid int) error { return unix.Kill(pid, 0) }}
		pid, c, err := s.exec(t.Context(), sp, w, func(passwd, _ []byte) (identity, error) {
			if !bytes.HasPrefix(passwd, []byte("root:")) {
				t.Errorf("the child has sent %q", passwd)
			}
			return identity{Home: "/"}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return pid, c
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			pid, c := begin("/bin/sh", "-c", fmt.Sprintf("test $HOME = / && exit %d", i+1))
			defer c.close()
			var status unix.WaitStatus
			if err := c.start(); err != nil {
				t.Error(err)
			}
			if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != i+1 {
				t.Errorf("process %d: %v, %v", i, status, err)
			}
			goruntime.GC() // nobody waits for the threads of the others
		})
	}
	waiting, c := begin("/bin/true")
	defer c.close()
	wg.Wait()
	if err := c.start(); err != nil {
		t.Error(err)
	}
	reap(waiting)

	pid, c := begin("/nowhere/at/all")
	if err := c.start(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	c.close()
	reap(pid)
	pid, c = begin("/bin/true")
	end(pid)
	if err := c.start(); err != nil && !strings.Contains(err.Error(), "ended before") {
		t.Errorf("got %v", err)
	}
	c.close()
}
