package main

import (
	"testing"
)

func TestRun(t *testing.T) {
	h := startAgent(t)
	out, stderr, exit := h.run1(h.container("echo out; echo err >&2; id; cat /proc/self/uid_map; hostname; exit 7"))
	if exit.Code != 7 {
		t.Errorf("exit %+v", exit)
	}
	t.Logf("%s\n%s", out, stderr)
}
