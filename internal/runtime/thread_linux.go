package runtime

import (
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread that ends with it, whatever f does to the thread.
// That is not the main one, which would outlive it and stands for the process
// in /proc.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			defer goruntime.UnlockOSThread()
			done <- onThread(f) // on another, as this one is taken
			return
		}
		done <- f()
	}()
	return <-done
}
