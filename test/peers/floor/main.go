// Abode-bench-floor is the least that a start can cost: new namespaces, another
// root, and the program. No image, no cgroup, no network, no safety.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: abode-bench-floor ROOT PROGRAM [ARG...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "abode-bench-floor:", err)
	}
	os.Exit(code)
}

func run(root string, argv []string) (int, error) {
	runtime.LockOSThread() // the namespaces are this thread's
	if err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET); err != nil {
		return 1, fmt.Errorf("unshare: %w", err)
	}
	for _, step := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, "") },
		func() error { return syscall.Mount(root, root, "", syscall.MS_BIND, "") },
		func() error { return syscall.Chdir(root) },
		func() error { return syscall.PivotRoot(".", ".") },
		func() error { return syscall.Unmount(".", syscall.MNT_DETACH) },
	} {
		if err := step(); err != nil {
			return 1, fmt.Errorf("cannot change the root to %s: %w", root, err)
		}
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=/bin"}, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
	})
	if err != nil {
		return 1, fmt.Errorf("cannot run %s: %w", argv[0], err)
	}
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return status.ExitStatus(), err
		}
	}
}
