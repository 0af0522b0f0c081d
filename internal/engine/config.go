// Package engine is containers as the user sees them, whatever their
// isolation: it creates, starts, watches and removes them, and answers what
// they are doing, in the types and the words of the Docker API.
//
// Each container is a directory of state (internal/state) and an object in
// memory. What a container runs on is a kernel.Kernel; below that contract the
// engine knows no wall. Its verbs have a file each, as have the parts of what
// is sent to an agent.
//
// # Order
//
// A container has two locks. op is held by what changes it as a whole (start,
// remove, files of one that is stopped) for as long as that takes; mu guards
// the fields in memory and is held for moments, never across a call. Stop and
// kill do not need op, so they work while a start hangs. State is on disk
// before anything is done that a crash could leave behind.
package engine

import (
	"log/slog"
	"net/netip"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/kernel"
)

// Config says where an engine lives and what it works with.
type Config struct {
	Root, Run        string       // directories, made when missing: what lasts, and what lasts until reboot
	Bridge           string       // of its network; no other engine's
	Subnet           netip.Prefix // zero: one that is free
	AgentBinary      string       // abode-agent
	DefaultIsolation kernel.Isolation
	HostsDir         string              // registries' hosts.toml; empty: the image store's default
	NoAhead          bool                // no interface and no guest is kept ready for a container to come
	Logs             container.LogConfig // of containers that ask for none; zero: json-file, 100 MiB
	Version          string
	Log              *slog.Logger
	Observer         Observer // nil: nobody
	Tracer           Tracer   // nil: nobody
}
