// Package kernel says what a container runs on: the host's kernel (kernel/host)
// or a guest's (kernel/vm). The rest of the engine knows no more of a wall than
// this contract.
package kernel

import (
	"context"

	"github.com/abode-run/abode/internal/agent"
)

// Isolation names a wall, as the Docker API's HostConfig.Isolation does.
type Isolation string

// The walls there are.
const (
	Container Isolation = "container" // shares the host's kernel
	VM        Isolation = "vm"        // has a kernel of its own
)

// A Provider gives containers of one isolation their kernels. Its methods may
// be called concurrently, for one ID one at a time. A Provider keeps nothing in memory that Recover
// could not find again: the daemon may be killed between any two steps.
type Provider interface {
	Isolation() Isolation

	// Capabilities says what this wall can do at all on this machine. The
	// engine refuses what it cannot before anything starts.
	Capabilities() Capabilities

	// CreateWritable makes the writable layer of a container below dir, an
	// existing directory that the engine owns and removes as a whole. A wall
	// that needs none before Place may make it then.
	CreateWritable(ctx context.Context, dir string, owner int) error

	// Place readies a kernel for one container and returns when its agent
	// answers. On error nothing is left. A kernel that no longer is needed
	// must be Released.
	Place(ctx context.Context, p Placement) (Kernel, error)

	// Recover finds the kernel that an earlier daemon placed for p.ID, or
	// returns an error that is ErrGone after having cleaned up what was left
	// of it.
	Recover(ctx context.Context, p Placement) (Kernel, error)
}

// Capabilities of a wall on this machine.
type Capabilities struct {
	HostNetwork    bool   // --network host
	HostDevices    bool   // --device
	HostNamespaces bool   // --pid, --ipc, --uts and --cgroupns host, and namespaces of other containers
	Limits         Limits // that not every kernel can set
	Available      error  // nil, or why nothing can run behind this wall here, naming the next step
	Description    string // one line for `info`: accelerator and why, guest kernel
}

// Limits are those that a kernel may lack.
type Limits struct {
	Swappiness, OOMKillDisable           bool
	IOWeight, IOWeightDevice, IOThrottle bool // of block devices
}

// Placement is what a kernel is made for. Directories are made by the engine.
type Placement struct {
	ID       string
	StateDir string // lasts: holds the writable layer that CreateWritable made, and the log
	RunDir   string // until release: sockets, process IDs
	Log      string // the output log's path on the host, inside StateDir
	Layers   []Layer
	CPUs     float64 // 0: the isolation's default
	Memory   int64   // bytes for the workload; 0: the isolation's default
	// Owner is the first host user ID of the 65,536 that belong to this
	// container alone. A hypervisor runs as this user.
	Owner int
	// NICs are host interfaces that the network has made for this container:
	// a veth peer or a tap each.
	NICs []string
	// Shares are host directories and files that the container is given. A
	// host kernel has no need of them; a guest gets them and nothing else.
	Shares []Share
	// NoTemplate boots a guest from cold.
	NoTemplate bool
}

// Layer is one EROFS image in a file on the host; it never changes.
type Layer struct {
	Path string
	Size int64 // bytes, a multiple of 4096
}

// Share is a host directory or file that a guest may reach under a tag.
type Share struct {
	Tag      string
	Path     string
	ReadOnly bool // against the guest, whatever it does
}

// A Kernel is one that has an agent which answers. Its methods may be called
// concurrently; all but Done fail once Done is closed.
type Kernel interface {
	// Agent is connected, and reconnects by itself after a broken session.
	Agent() *agent.Client

	// Rootfs names the layers and the writable layer of the placement as the
	// agent has to call them.
	Rootfs() agent.Rootfs

	// Log names the sink for the workload's output as the agent has to call it.
	Log() string

	// Link names NIC i of the placement as the agent finds it.
	Link(i int) string

	// Share turns share i of the placement into a mount's type and source.
	Share(i int) (mountType, source string)

	// Processes lists the host processes that are this container's alone
	// beside its workload (the hypervisor first, and its helpers); nil for the host's kernel.
	Processes() []int

	// Done is closed when the kernel or its agent has ended for whatever
	// reason, Release included.
	Done() <-chan struct{}

	// Release gives the kernel back: a guest is shut down, or killed when ctx
	// ends first; the host's kernel loses a user. Idempotent. Whatever the
	// kernel held on the host (processes, sockets, mounts, cgroups) is gone
	// when it returns.
	Release(ctx context.Context) error
}
