package agent

import (
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/logs"
)

// Version is the protocol's version. A daemon refuses an agent of another one.
const Version = 9

// MaxFrame bounds a request or response frame, in bytes.
const MaxFrame = 8 << 20

// Methods. The request and response types of method X are XRequest and
// XResponse; a method without its own response type answers Empty.
const (
	MethodInfo     = "info"     // Empty → InfoResponse
	MethodWake     = "wake"     // guest only: what a clone of a template must be given before any workload
	MethodShutdown = "shutdown" // ends every container, unmounts all; a guest then powers off

	MethodPrepare = "prepare" // PrepareRequest → ProcessResponse: makes a container's first process ahead, with its interface in place
	MethodForget  = "forget"  // PrepareRequest: ends those that were prepared with that interface; empty: with any

	MethodCreate = "create" // CreateRequest → ProcessResponse: everything up to, not including, the workload's execve
	MethodDelete = "delete" // IDRequest; kills what is left, unmounts, removes cgroups; idempotent
	MethodList   = "list"   // Empty → ListResponse
	MethodPause  = "pause"  // IDRequest
	MethodResume = "resume" // IDRequest
	MethodUpdate = "update" // UpdateRequest
	MethodStats  = "stats"  // IDRequest → StatsResponse
	MethodTop    = "top"    // IDRequest → TopResponse
	MethodRewire = "rewire" // RewireRequest

	// A process is named by its container's ID and an exec ID, which is empty
	// for the container's own process. It is created, then attached to by
	// whoever wants every byte from the first, then started.
	MethodStart  = "start"  // StartRequest → ProcessResponse once execve has succeeded, or an *Error with class NotFound or NotExecutable; then, if it attaches, I/O frames both ways
	MethodAttach = "attach" // AttachRequest, then I/O frames both ways
	MethodResize = "resize" // ResizeRequest
	MethodKill   = "kill"   // KillRequest
	MethodWait   = "wait"   // ProcessRequest → Exit, when the process has ended and its output was written out

	// Files of a container, running or only created. Paths are resolved inside
	// the container's root file system, never through it to the kernel's.
	MethodStat    = "stat"    // PathRequest → FileStat
	MethodArchive = "archive" // PathRequest, then tar bytes to the caller until EOF, with ustar/PAX owners as the container sees them
	MethodExtract = "extract" // ExtractRequest, then tar bytes from the caller until it closes its side, then one more response frame
	MethodDiff    = "diff"    // IDRequest → DiffResponse
	MethodLayer   = "layer"   // IDRequest, then what diff lists as the tar of an OCI layer to the caller until EOF, owners as above
)

// Empty is a request or response without content.
type Empty struct{}

// IDRequest names a container.
type IDRequest struct {
	ID string
}

// InfoResponse describes an agent and its kernel.
type InfoResponse struct {
	Version       int // of the protocol
	Guest         bool
	PID           int
	KernelRelease string   // uname -r
	CgroupVersion int      // 1 or 2
	Warnings      []string `json:",omitempty"` // what this kernel or its privileges do not allow, in plain words
}

// WakeRequest makes a guest that was resumed from a template its own machine.
type WakeRequest struct {
	Entropy   []byte    // at least 32 bytes; credited and mixed before anything else runs
	Time      time.Time // wall clock
	MachineID string    // 32 hexadecimal digits
	NewDisks  bool      // they hold other contents than before, and nothing of them is mounted
}

// PrepareRequest says what is known of a container to come.
type PrepareRequest struct {
	// NIC is the interface of the kernel's own network namespace that it will
	// have as its first one (CreateRequest.Links). What was prepared with it
	// before ends.
	NIC string
	// Comes says that NIC is not there yet: the caller makes it in the network
	// namespace of the process that the answer tells.
	Comes bool `json:",omitempty"`
	// Foundation is laid ahead if it is known. Nothing else may use its disks
	// until it was given up.
	Foundation *Foundation `json:",omitempty"`
}

// Foundation is the part of a container that depends on the least, and takes
// the most of what a start takes: the users, the root file system, what shows
// the kernel in it, and the places of files.
type Foundation struct {
	UIDMappings, GIDMappings   []specs.LinuxIDMapping
	Rootfs                     Rootfs            // ReadOnly is no part of it
	Privileged                 bool              `json:",omitempty"`
	Sysctl                     map[string]string `json:",omitempty"`
	MaskedPaths, ReadonlyPaths []string          `json:",omitempty"`
	Files                      []File            `json:",omitempty"` // their Content is no part of it
}

// CreateRequest describes a container to its agent.
type CreateRequest struct {
	ID string
	// Hostname, Root, Mounts, Annotations and Hooks of Spec are not used; the
	// fields below say it instead. A namespace whose Path is JoinPrefix and the ID
	// of a container that runs is that container's.
	// Linux.UIDMappings, GIDMappings, Resources, MaskedPaths, ReadonlyPaths,
	// Sysctl, Devices, and Process with Args, Env, Cwd, Capabilities, Rlimits,
	// NoNewPrivileges, Terminal, ConsoleSize and OOMScoreAdj are honoured.
	// Process.User is not used: see User.
	Spec *specs.Spec
	// User, Groups: as in an image's config ("name", "uid", "name:group",
	// "uid:gid"), looked up in the container's own /etc/passwd and /etc/group.
	// Its home becomes $HOME when Env has none.
	User     string
	Groups   []string `json:",omitempty"` // additional, by name or number
	Hostname string
	Domain   string `json:",omitempty"`
	Rootfs   Rootfs
	Mounts   []Mount `json:",omitempty"` // in order; sorted by the caller so that parents come first
	Files    []File  `json:",omitempty"`
	Links    []Link  `json:",omitempty"` // empty with a network namespace: loopback alone
	// Seccomp is the program for the workload: struct sock_filter entries,
	// native byte order. Empty means none.
	Seccomp []byte `json:"-"` // the message's Blob
	// Privileged gives the workload all devices of this kernel, in /dev and to
	// use, and /sys and its cgroups to write to. The rest of what people call
	// privileged (capabilities, no filter, nothing masked) Spec says.
	Privileged bool `json:",omitempty"`
	// Init puts a small init in front as PID 1, which reaps orphans and forwards signals.
	Init bool `json:",omitempty"`
	// OpenStdin keeps standard input open for attachers; without it the
	// workload reads end of file. StdinOnce closes it when the first attacher
	// that sent anything has gone.
	OpenStdin bool `json:",omitempty"`
	StdinOnce bool `json:",omitempty"`
	// Log is the sink for output frames (see internal/logs): a file, appended
	// to, or a virtio port. Empty means that output goes to attachers alone.
	Log string `json:",omitempty"`
	// LogBound is what is kept of a Log that is a file. A port's is the business
	// of who writes what comes out of it.
	LogBound logs.Bound `json:",omitzero"`
}

// JoinPrefix in a namespace's Path comes before the ID of the container whose
// namespace it is.
const JoinPrefix = "container:"

// Foundation is the container's.
func (r *CreateRequest) Foundation() Foundation {
	linux := r.Spec.Linux
	f := Foundation{
		UIDMappings: linux.UIDMappings, GIDMappings: linux.GIDMappings, Rootfs: r.Rootfs, Privileged: r.Privileged,
		Sysctl: linux.Sysctl, MaskedPaths: linux.MaskedPaths, ReadonlyPaths: linux.ReadonlyPaths,
	}
	f.Rootfs.ReadOnly = false
	for _, file := range r.Files {
		f.Files = append(f.Files, File{Path: file.Path, Mode: file.Mode, Of: file.Of})
	}
	return f
}

// Blob is the part of r that is not JSON.
func (r *CreateRequest) Blob() *[]byte { return &r.Seccomp }

// Rootfs says what a root file system is made of, in the agent's own paths.
type Rootfs struct {
	Layers   []Layer // lowest first; EROFS images
	Upper    Upper
	ReadOnly bool `json:",omitempty"` // the container sees it read-only; /etc/hosts and the like stay what Files says
}

// Layer is one EROFS image: a file, or a part of a block device.
type Layer struct {
	Path   string // file or block device
	Offset int64  `json:",omitempty"` // bytes, a multiple of 4096; block devices only
	Size   int64  `json:",omitempty"` // bytes, a multiple of 4096; block devices only
}

// Upper is the writable layer: a directory that the agent fills with what
// overlayfs needs (upper and work), or an ext4 disk that holds one.
type Upper struct {
	Dir    string `json:",omitempty"`
	Device string `json:",omitempty"`
}

// Mount types.
const (
	MountBind  = "bind"  // Source is a path on the agent's kernel, file or directory
	MountTmpfs = "tmpfs" // Options as mount(8) takes them: size=, mode=, nosuid, …
	MountOf    = "of"    // Source is the ID of a container that runs: its Shareable tmpfs
	MountShare = "share" // guest only: Source names a share that the host serves (see internal/share)
)

// Mount puts a file system into a container. Missing mount points are made in
// the writable layer, and never through a symbolic link out of the root.
type Mount struct {
	Type        string
	Source      string
	Target      string   // absolute
	ReadOnly    bool     `json:",omitempty"` // recursively
	Options     []string `json:",omitempty"`
	Propagation string   `json:",omitempty"` // rprivate when empty
	// CopyUp: when the mounted directory is empty, it first gets what the
	// image has at Target, with its owners and modes (named volumes).
	CopyUp bool `json:",omitempty"`
	// Shareable says that other containers may have this tmpfs too (MountOf).
	// Of a container one mount is, or one is another's.
	Shareable bool `json:",omitempty"`
}

// File is content that the agent keeps beside the container and bind-mounts
// over Path: /etc/hosts, /etc/resolv.conf, /etc/hostname.
type File struct {
	Path    string
	Mode    uint32
	Content []byte
	// Of is the ID of a container that runs and has such a file at Path: this is
	// the same one then, and Content and Mode are of no use.
	Of string `json:",omitempty"`
}

// Link is a network interface that exists on the agent's kernel and that the
// agent moves into the container, or one that it makes.
type Link struct {
	Name string // as it is now; one that is made: of the kernel's device above which it lies
	// Above says that it is made, as one that sends and receives with its own
	// MAC through that device, wherever that is.
	Above     bool     `json:",omitempty"`
	NewName   string   // in the container: eth0
	MAC       string   `json:",omitempty"` // set when given
	MTU       int      `json:",omitempty"`
	Addresses []string // CIDR
	Gateways  []string `json:",omitempty"` // default routes, one for each family at most
}

// RewireRequest changes the network of a running container, in this order.
type RewireRequest struct {
	ID     string
	Remove []string // interfaces, by their names in the container; the kernel's own device is kept for later
	Add    []Link
	// Default is the interface of the default routes, with those as its
	// Gateways, when that changes; nil: it does not. An empty Name: there are
	// none.
	Default *Link `json:",omitempty"`
	// Files are those of the container whose content changes. What the workload
	// has written itself stays as it is.
	Files []File `json:",omitempty"`
}

// ProcessRequest names a process.
type ProcessRequest struct {
	ID     string
	ExecID string `json:",omitempty"`
}

// ProcessResponse tells a process's ID on the agent's kernel, as the agent's PID namespace numbers it.
type ProcessResponse struct {
	PID int
	// CreateTook is how long the Create of a StartRequest took.
	CreateTook time.Duration `json:",omitempty"`
}

// StartRequest starts a process. All that belongs to a start is one call,
// because calls are what takes time where the agent's kernel is emulated.
type StartRequest struct {
	ProcessRequest
	// Create makes the container first, which stays when it cannot be started.
	Create *CreateRequest `json:",omitempty"`
	// Exec is the process, when it is another than the container's own. It is
	// prepared first.
	Exec *ExecRequest `json:",omitempty"`
	// Attach joins the call's stream to the process's from the first byte on.
	// When the process has ended and its output was written out, an IOExit
	// frame follows and the agent closes the stream.
	Attach *AttachStreams `json:",omitempty"`
}

// Blob is the part of r that is not JSON.
func (r *StartRequest) Blob() *[]byte {
	if r.Create == nil {
		return new([]byte)
	}
	return r.Create.Blob()
}

// ExecRequest describes another process in a running container. It gets the
// container's namespaces, cgroup, seccomp program and, unless Privileged, its
// capabilities.
type ExecRequest struct {
	Args       []string
	Env        []string // added to the container's own
	Cwd        string   // empty: the container's
	User       string   // empty: the container's
	Terminal   bool     `json:",omitempty"`
	Width      uint     `json:",omitempty"`
	Height     uint     `json:",omitempty"`
	OpenStdin  bool     `json:",omitempty"`
	Privileged bool     `json:",omitempty"`
	// Tied says that the process lives no longer than the call that starts it,
	// which has to attach: when the caller closes its side or is gone, the
	// process is killed with what it has started, as far as that is of its
	// session or below it. The exit is told on the stream as always, and the
	// process is forgotten then.
	Tied bool `json:",omitempty"`
	// Collected names earlier processes of the container whose exits the caller
	// knows. Those that have ended are forgotten.
	Collected []string `json:",omitempty"`
}

// AttachRequest asks for a process's streams from now on. The response is
// Empty; I/O frames follow (see IO). The agent closes the stream when the
// process's output has ended, also when it had ended before.
type AttachRequest struct {
	ProcessRequest
	AttachStreams
}

// AttachStreams says which streams somebody wants to be joined to.
type AttachStreams struct {
	Stdin  bool `json:",omitempty"`
	Stdout bool `json:",omitempty"`
	Stderr bool `json:",omitempty"`
}

// Kinds of I/O frames: one byte of kind, a 4-byte big-endian length, at most MaxIO bytes.
const (
	IOStdin      = 0
	IOStdout     = 1
	IOStderr     = 2
	IOStdinClose = 3 // no payload: the attacher's standard input has ended
	IOExit       = 4 // Exit as JSON: the last frame of a start that attaches
)

// MaxIO bounds an I/O frame's payload, in bytes.
const MaxIO = 64 << 10

// ResizeRequest sets a terminal's size in characters.
type ResizeRequest struct {
	ID     string
	ExecID string `json:",omitempty"`
	Width  uint
	Height uint
}

// KillRequest sends a signal to a process, or with All to every process of the container.
type KillRequest struct {
	ID     string
	ExecID string `json:",omitempty"`
	Signal int
	All    bool `json:",omitempty"`
}

// Exit tells how a process ended. Code is 128+n for one that signal n ended.
type Exit struct {
	Code      int
	Signal    int  `json:",omitempty"`
	OOMKilled bool `json:",omitempty"` // the kernel killed a process of the container for memory
	At        time.Time
}

// States of a container at its agent.
const (
	StateCreated = "created"
	StateRunning = "running"
	StatePaused  = "paused"
	StateExited  = "exited" // kept until it is deleted
)

// Container is an agent's view of a container.
type Container struct {
	ID        string
	State     string
	PID       int       `json:",omitempty"`
	StartedAt time.Time `json:",omitzero"`
	Exit      *Exit     `json:",omitempty"` // when exited
}

// ListResponse lists every container that was created and not deleted.
type ListResponse struct {
	Containers []Container
}

// UpdateRequest changes limits while running; nil fields stay.
type UpdateRequest struct {
	ID        string
	Resources *specs.LinuxResources
}

// TopResponse is a process table: the figures of which ps makes its columns.
type TopResponse struct {
	MemTotal  uint64 // of the agent's kernel, in bytes
	Processes []TopProcess
}

// TopProcess is a process. Its IDs are the numbers of the agent's kernel; the
// user's is that in the container.
type TopProcess struct {
	PID, PPID, PGID, SID int
	UID                  int
	Comm                 string
	Args                 string // the command line, words divided by spaces; empty: it has none
	Stat                 string // as ps shows it: the state and its flags
	TTY                  string // empty: none
	Nice, Priority       int
	Processor, Threads   int
	CPU, Age             time.Duration // used, and since its start
	VSize, RSS           uint64        // in bytes
}

// StatsResponse holds a container's counters since its start; times are in
// nanoseconds, sizes in bytes.
type StatsResponse struct {
	Read        time.Time
	CPUTotal    uint64
	CPUUser     uint64
	CPUSystem   uint64
	OnlineCPUs  uint32
	SystemCPU   uint64 // all CPUs of the kernel, all modes
	Memory      uint64 // in use, page cache included
	MemoryCache uint64 // inactive file pages: what docker subtracts
	MemoryLimit uint64 // the limit, or the kernel's memory
	PIDs        uint64
	PIDsLimit   uint64 // 0: none
	BlockRead   uint64
	BlockWrite  uint64
	Networks    map[string]NetworkStats `json:",omitempty"`
}

// NetworkStats counts one interface of a container.
type NetworkStats struct {
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// PathRequest names a path in a container.
type PathRequest struct {
	ID   string
	Path string
	// Follow resolves a symbolic link at the path's end.
	Follow bool `json:",omitempty"`
}

// ExtractRequest unpacks a tar stream into a directory of a container.
type ExtractRequest struct {
	ID   string
	Path string
	// NoOverwriteDirNonDir refuses to replace a directory by a non-directory and the reverse.
	NoOverwriteDirNonDir bool `json:",omitempty"`
	// CopyUIDGID gives the files the owners of the tar entries as they are, else root's.
	CopyUIDGID bool `json:",omitempty"`
}

// FileStat describes one file of a container. Mode is Go's fs.FileMode.
type FileStat struct {
	Name       string
	Size       int64
	Mode       uint32
	ModTime    time.Time
	LinkTarget string `json:",omitempty"`
}

// Kinds of change against the image, numbered as in the Docker API.
const (
	ChangeModified = 0
	ChangeAdded    = 1
	ChangeDeleted  = 2
)

// Change is one path that differs from the image.
type Change struct {
	Path string
	Kind int
}

// DiffResponse lists changes, sorted by path.
type DiffResponse struct {
	Changes []Change
}
