package runtime

import (
	"fmt"
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

// inNetwork runs f on a thread in a network namespace.
func inNetwork(ns int, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter the network namespace: %w", err)
		}
		return f()
	})
}
