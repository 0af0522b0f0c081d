// Package state names every file and directory that an engine keeps, and
// writes the small ones so that a crash leaves either the old or the new.
//
// Below ROOT, which lasts:
//
//	lock                     held by the one daemon that owns ROOT
//	images/                  content store and metadata (internal/image)
//	layers/                  EROFS files (internal/layer)
//	volumes/                 named volumes (internal/volume)
//	kernels/, templates/     guest kernels and saved guests (internal/kernel/vm)
//	vm/                      what guests are made with: initramfs, empty disk, the probe's result
//	containers/ID/           one container:
//	    config.json          what was asked for and what it is made of; never changes but by rename and update
//	    state.json           what it is doing; see internal/engine. Of a container that is
//	                         removed when it ends, both are below RUN
//	    log, log.start       its output, and where what is kept of it begins (internal/logs)
//	    writable/, *.ext4    its writable layer, made by its kernel's provider
//	containers/.removed-ID/  a removal that was cut short
//
// Below RUN, which a reboot clears:
//
//	abode.sock               the API
//	agent.sock, agent.lock   the host's agent (internal/kernel/host)
//	agent.log, agent/        what it says, and where it works
//	network/                 addresses given away (internal/network)
//	passing/ID/              config.json and state.json of a container that is removed when it
//	                         ends: a reboot ends it
//	container/ID/, vm/ID/    a running container, by isolation: of a guest its sockets
//	                         and process IDs (internal/kernel/vm)
package state

import (
	"path/filepath"
	"strings"
)

// Dirs holds the two directories of one engine.
type Dirs struct {
	Root string // lasts
	Run  string // until reboot
}

// Names below Root.

func (d Dirs) Lock() string       { return filepath.Join(d.Root, "lock") }
func (d Dirs) Images() string     { return filepath.Join(d.Root, "images") }
func (d Dirs) Layers() string     { return filepath.Join(d.Root, "layers") }
func (d Dirs) Volumes() string    { return filepath.Join(d.Root, "volumes") }
func (d Dirs) Kernels() string    { return filepath.Join(d.Root, "kernels") }
func (d Dirs) Templates() string  { return filepath.Join(d.Root, "templates") }
func (d Dirs) Containers() string { return filepath.Join(d.Root, "containers") }

// Names below Run.

func (d Dirs) Socket() string      { return filepath.Join(d.Run, "abode.sock") }
func (d Dirs) AgentSocket() string { return filepath.Join(d.Run, "agent.sock") }
func (d Dirs) VMs() string         { return filepath.Join(d.Run, "vm") }
func (d Dirs) Network() string     { return filepath.Join(d.Run, "network") }

// Networks and NetworksRun are those that users define: what they are, and who
// is in them.
func (d Dirs) Networks() string    { return filepath.Join(d.Root, "networks") }
func (d Dirs) NetworksRun() string { return filepath.Join(d.Run, "networks") }

func (d Dirs) Passing() string { return filepath.Join(d.Run, "passing") }

// RunDir is a container's directory below Run, whatever its isolation. It is
// there from a start until the kernel's release.
func (d Dirs) RunDir(isolation, id string) string { return filepath.Join(d.Run, isolation, id) }

// Container is the directory of one container.
func (d Dirs) Container(id string) ContainerDir {
	return ContainerDir(filepath.Join(d.Containers(), id))
}

// ContainerDir is the directory of one container.
type ContainerDir string

func (c ContainerDir) Log() string { return filepath.Join(string(c), "log") }

// Removed is the name that the directory has while it is being removed.
func (c ContainerDir) Removed() string {
	return filepath.Join(filepath.Dir(string(c)), removedPrefix+filepath.Base(string(c)))
}

const removedPrefix = ".removed-"

// IsRemoved says whether a directory's name is one that Removed gave.
func IsRemoved(name string) bool { return strings.HasPrefix(name, removedPrefix) }

// IsID says whether a name can be a container's ID: 64 lower-case hexadecimal
// digits. Only such names below Containers are containers.
func IsID(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}
