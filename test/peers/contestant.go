package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
)

// A contestant runs containers in its way. What it does not have it answers
// with an absence, which becomes the report's "not measured".
type contestant interface {
	name() string
	// ready starts what it needs, which the end of the sandbox ends, gives it
	// the image, and says its version.
	ready() (version string, err error)

	// load makes an image of a root file system.
	load(image, tar string) error
	// run is a call that runs a program of an image in a new container, and
	// ends with it.
	run(image string, network bool, argv ...string) (*exec.Cmd, error)
	// idle starts a container of the name that does nothing, with the network
	// that it gives by default, and returns when it is up.
	idle(name string) error
	// exec is a call that runs a program in a running container.
	exec(name string, argv ...string) (*exec.Cmd, error)
	// remove ends and removes containers.
	remove(names []string) error
	// list is the call that lists the running containers.
	list() (*exec.Cmd, error)
	// pull is the call that gets an image from the registry; forget removes it.
	pull(ref string) (*exec.Cmd, error)
	forget(ref string) error

	// ours tells its processes from everything else in the sandbox, workloads
	// too: what it adds to them.
	ours(p process) bool
	// resident tells those that run also without any container.
	resident(p process) bool
}

// absence is an error that says why something cannot be measured.
type absence string

func (a absence) Error() string { return string(a) }

// bare is what a contestant has that has nothing; others embed it.
type bare struct{}

func (bare) load(string, string) error                 { return nil }
func (bare) idle(string) error                         { return absence("it keeps nothing running") }
func (bare) exec(string, ...string) (*exec.Cmd, error) { return nil, absence("it has no exec") }
func (bare) remove([]string) error                     { return nil }
func (bare) list() (*exec.Cmd, error)                  { return nil, absence("it has no list") }
func (bare) pull(string) (*exec.Cmd, error)            { return nil, absence("it knows no registries") }
func (bare) forget(string) error                       { return nil }
func (bare) ours(process) bool                         { return false }
func (bare) resident(process) bool                     { return false }

// everybody are the names of all contestants, in the order of the report.
var everybody = []string{"container", "vm", "docker", "podman", "runc", "qemu", "floor"}

func known(name string) bool { return slices.Contains(everybody, name) }

// titles are the contestants' names for people.
var titles = map[string]string{
	"container": "abode container", "vm": "abode vm", "docker": "docker", "podman": "podman",
	"runc": "runc alone", "qemu": "qemu, cold boot", "floor": "floor (bare clone)",
}

// contestants makes those that are asked for. Both walls of Abode are one
// engine.
func contestants(p *place) []contestant {
	engine := &engine{place: p, folder: engineFolder}
	all := map[string]contestant{
		"container": &wall{engine: engine, isolation: "container"},
		"vm":        &wall{engine: engine, isolation: "vm"},
		"docker":    &docker{place: p},
		"podman":    &podman{place: p},
		"runc":      &runc{place: p},
		"qemu":      &qemu{place: p, model: engine},
		"floor":     &floor{place: p},
	}
	var chosen []contestant
	for _, name := range everybody {
		if p.contestants == nil || slices.Contains(p.contestants, name) {
			chosen = append(chosen, all[name])
		}
	}
	return chosen
}

// reason is an error in one line, for the report.
func reason(err error) string {
	var a absence
	if errors.As(err, &a) {
		return string(a)
	}
	return firstLine(fmt.Sprint(err))
}
