package runtime

import (
	"bytes"
	"errors"
	"testing"

	"github.com/abode-run/abode/internal/agent"
)

type failingLog struct{ fail bool }

func (l *failingLog) Write(p []byte) (int, error) {
	if l.fail {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

// A log that fails is told once until it works again; attachers go on.
func TestLogFails(t *testing.T) {
	log := &failingLog{}
	s, err := newStdio(true, false, false, log)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	s.logFails = func(error) { told++ }
	var got bytes.Buffer
	s.attach(&attacher{w: &got, stdout: true, done: make(chan struct{})})
	for i, step := range []struct {
		fail bool
		told int
	}{{false, 0}, {true, 1}, {true, 1}, {false, 1}, {true, 2}} {
		log.fail = step.fail
		before := got.Len()
		s.emit(agent.IOStdout, []byte("x"))
		if told != step.told {
			t.Errorf("write %d: told %d times, want %d", i, told, step.told)
		}
		if got.Len() == before {
			t.Errorf("write %d: the attacher got nothing", i)
		}
	}
}
