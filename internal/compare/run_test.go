package compare

import (
	"testing"
	"time"
)

// What was printed already counts, also where nothing is waited for.
func TestAwait(t *testing.T) {
	for range 200 {
		c := make(chan time.Duration, 1)
		c <- time.Second
		if d, ok := await(c, 0); !ok || d != time.Second {
			t.Fatal("output that was there is lost")
		}
	}
	c := make(chan time.Duration, 1)
	if _, ok := await(c, 0); ok {
		t.Error("output that was not there")
	}
	time.AfterFunc(time.Millisecond, func() { c <- 1 })
	if _, ok := await(c, time.Hour); !ok {
		t.Error("output that came later is lost")
	}
	close(c)
	if _, ok := await(c, time.Hour); ok {
		t.Error("the end is taken for output")
	}
}
