package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// stageArg as the first argument marks a process that the agent has started
// from itself, in other namespaces.
const stageArg = "+stage"

// Stages.
const (
	stageInit  = "init"  // becomes a container's first process
	stageReap  = "reap"  // PID 1 of a container that wants an init
	stageFiles = "files" // reads or writes files of a container
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == stageArg {
		// Credentials, seccomp filters and namespaces belong to threads. What
		// is done from here on is done by the thread that executes the workload.
		goruntime.LockOSThread()
	}
}

// Stage runs the stage that this process was started as, and does not return,
// or returns at once when it is none. main calls it first.
func Stage() {
	if len(os.Args) < 3 || os.Args[1] != stageArg {
		return
	}
	if os.Args[2] == stageReap {
		reapMain(os.Args[3:])
	}
	ctl, err := controlOf(3)
	if err != nil {
		os.Exit(exitStage)
	}
	switch os.Args[2] {
	case stageInit:
		err = initMain(ctl)
	case stageFiles:
		err = filesMain(ctl)
	default:
		err = fmt.Errorf("no stage %q", os.Args[2])
	}
	if err != nil {
		_ = ctl.send(stageReply{Error: asError(err)}) // when nobody listens, the exit code tells
		os.Exit(exitStage)
	}
	os.Exit(0)
}

// exitStage is the exit code of a stage that failed.
const exitStage = 125

// stageReply is what a stage answers.
type stageReply struct {
	Error    *agent.Error    `json:",omitempty"`
	UID, GID int             // of the workload, as the container numbers them
	Made     []string        `json:",omitempty"` // mount points that were made
	Warnings []string        `json:",omitempty"`
	Result   json.RawMessage `json:",omitempty"` // of a files stage
}

func asError(err error) *agent.Error {
	var e *agent.Error
	if errors.As(err, &e) {
		return &agent.Error{Class: e.Class, Message: err.Error()}
	}
	return &agent.Error{Class: agent.ClassInternal, Message: err.Error()}
}

func errorf(class, format string, args ...any) error {
	return &agent.Error{Class: class, Message: fmt.Errorf(format, args...).Error()}
}

// processConfig is what a container's first and its further processes have in common. Descriptors are indices
// into those that came with the message; -1 is none.
type processConfig struct {
	Args          []string
	Env           []string
	Cwd           string
	User          string
	Groups        []string
	Caps          *specs.LinuxCapabilities
	Rlimits       []specs.POSIXRlimit
	NoNewPrivs    bool
	Seccomp       []byte `json:"-"` // the blob of the message
	Terminal      bool
	Width, Height uint
	Stdio         [3]int
	Slave         int // the terminal
	Reaper        int // this program, to be PID 1 in front of the workload
}

// stageStep is a message to the init stage: one of these. The last is Init; a
// stage that waits for a container may have been told of others ahead.
type stageStep struct {
	Namespaces *namespaceStep  `json:",omitempty"` // the first
	Names      *nameStep       `json:",omitempty"`
	Foundation *foundationStep `json:",omitempty"`
	Init       *initConfig     `json:",omitempty"`
}

// Blob is the part of it that is not JSON.
func (s stageStep) Blob() *[]byte {
	if s.Init == nil {
		return new([]byte)
	}
	return &s.Init.Seccomp
}

// namespaceStep sets namespaces up as far as they are the same for all.
type namespaceStep struct {
	UserNS    bool
	NewCgroup bool
	NewNet    bool
}

// nameStep tells what the container is called, and its interfaces.
type nameStep struct {
	NewUTS           bool
	Hostname, Domain string
	Links            []agent.Link
}

// foundationStep comes with detached mounts: the root file system, /dev, one
// for each of Files, and with Sys one of /sys.
type foundationStep struct {
	Privileged bool   // may write to what shows the kernel
	Up         string // when the container is not known yet: its interface, to be set up already, and the agent to be told
	Cgroups    []cgroupView
	Sysctl     map[string]string
	Files      []string
	Sys        bool
	hidden
}

// hidden are paths that the workload sees in part only.
type hidden struct {
	Masked   []string `json:",omitempty"`
	Readonly []string `json:",omitempty"`
}

// initConfig makes the container and the workload. What lies below a mount is
// covered by it, so that such files and hidden paths are told again.
type initConfig struct {
	processConfig
	ReadOnly bool
	Mounts   []stageMount
	Files    []stageMount
	hidden
}

// stageMount is a mount that the agent prepared, or a tmpfs.
type stageMount struct {
	Target  string
	FD      int // detached mount; -1: tmpfs
	Options []string
	Dir     bool
	CopyUp  bool
	// ReadOnly is applied after CopyUp.
	ReadOnly bool
	// Share is the type of the root of a share, as st_mode has it; the stage
	// mounts it. 0: it is none.
	Share uint32
	Attrs uint64 // of a share's mount
}

// cgroupView is a cgroup file system for the container to see.
type cgroupView struct {
	Name    string // below /sys/fs/cgroup; empty for the unified hierarchy
	Options []string
	V2      bool
}

// at returns the descriptor of index i.
func at(fds []int, i int) int {
	if i < 0 || i >= len(fds) {
		return -1
	}
	return fds[i]
}

// waitStart blocks until the agent sends a byte, and dies with the agent.
func waitStart(ctl *control) {
	var b [1]byte
	if n, err := ctl.Read(b[:]); n != 1 || err != nil {
		os.Exit(exitStage)
	}
}

// stageWaiter is an init stage that is ready.
type stageWaiter struct{ *control }

func (s stageWaiter) start() error {
	if _, err := s.Write([]byte{1}); err != nil {
		return errorf(agent.ClassConflict, "the process has ended before it was started")
	}
	// The stage's end of the socket closes with a successful execve.
	var reply stageReply
	fds, err := s.receive(&reply)
	closeAll(fds)
	switch {
	case err == nil && reply.Error != nil:
		return reply.Error
	case err == io.EOF || errors.Is(err, unix.ECONNRESET): // the latter: it was killed before it had read
		return nil
	}
	return fmt.Errorf("cannot hear of the process's start: %w", err)
}

func (s stageWaiter) close() { s.Close() }

// pdeathsig is set again after every change of credentials, which clears it.
func pdeathsig() error {
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}
