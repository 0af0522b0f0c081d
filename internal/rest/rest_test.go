package rest

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestKeeper leaves garbage behind, as a pull does, and waits until the system
// has it back.
func TestKeeper(t *testing.T) {
	const size = 256 << 20
	k := New()
	for range 2 {
		before := resident(t)
		garbage := make([]byte, size)
		for i := 0; i < len(garbage); i += 4096 {
			garbage[i] = 1
		}
		if used := resident(t) - before; used < size*3/4 {
			t.Fatalf("%d bytes that were written take %d", size, used)
		}
		runtime.KeepAlive(garbage) // no longer than to here
		k.Done()
		deadline := time.Now().Add(time.Minute)
		for resident(t)-before > size/4 {
			if time.Now().After(deadline) {
				t.Fatalf("the process keeps %d bytes", resident(t)-before)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// resident is the memory of this process, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
