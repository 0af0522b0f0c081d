package runtime

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that finds no place is gone, and the caller hears why.
func TestSpawnNoPlace(t *testing.T) {
	s, err := newSpawner()
	if err != nil {
		t.Fatal(err)
	}
	defer close(s.requests)
	full, child := errors.New("no room"), 0
	_, ctl, err := s.start(spawn{stage: stageInit, place: func(pid int) error { child = pid; return full }})
	if !errors.Is(err, full) || ctl != nil {
		t.Errorf("got %v, %v", ctl, err)
	}
	if err := unix.Kill(child, 0); err != unix.ESRCH {
		t.Errorf("process %d is left: %v", child, err)
	}
}
