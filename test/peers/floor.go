package main

import (
	"os/exec"
	"path/filepath"
)

// floor is the least that a start can cost: see the program's own folder.
type floor struct {
	*place
	bare
	root string
}

func (f *floor) name() string { return "floor" }

func (f *floor) program() string { return filepath.Join(f.bin, "abode-bench-floor") }

func (f *floor) ready() (version string, err error) {
	if !exists(f.program()) {
		return "", absence(f.program() + " is not built: run make bench")
	}
	f.root, err = f.rootfs()
	return "unshare, pivot_root, clone, execve", err
}

func (f *floor) run(_ string, network bool, argv ...string) (*exec.Cmd, error) {
	if network {
		return nil, absence("it makes no network")
	}
	return f.command(nil, f.program(), append([]string{f.root, "/bin/" + argv[0]}, argv[1:]...)...), nil
}
