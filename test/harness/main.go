package harness

import (
	"fmt"
	"os"
	"testing"
)

// Main is the body of a TestMain whose tests share one engine: it starts one
// with a guest kernel and the image busybox, stores it in engine, runs the
// tests, and ends it. flags go to the daemon. It returns the exit code.
func Main(m *testing.M, engine **Engine, flags ...string) (code int) {
	e, err := NewAt("", flags...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "the daemon's log:\n%s", e.Log())
		}
		if err := e.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := e.Prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*engine = e
	return m.Run()
}
