package engine

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/go-digest"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// record is what a container is: config.json. In memory it is replaced as a
// whole and never changed, so that a copy of the struct may be read without
// a lock.
type record struct {
	ID        string
	Name      string // without Docker's slash
	Created   time.Time
	Isolation kernel.Isolation
	Owner     int           // first of its 65,536 user IDs on the host
	Image     digest.Digest // the image's ID
	Platform  string
	Config    *container.Config     // merged with the image's
	Host      *container.HostConfig // as it was given, defaults filled in
	Mounts    []mountPoint
	Endpoints []endpoint `json:",omitempty"` // in networks, the one with the first interface first

	joined *joined // in a copy for its start, when it joins others
}

// command is what the container runs: entrypoint and arguments.
func (rec *record) command() []string {
	return append(append([]string{}, rec.Config.Entrypoint...), rec.Config.Cmd...)
}

// passing says that a container is to be gone after a reboot, because it is
// removed when it ends. One with volumes of its own is not: they are removed
// with it, so that it must be known of.
func (rec *record) passing() bool {
	return rec.Host.AutoRemove && !slices.ContainsFunc(rec.Mounts, func(m mountPoint) bool { return m.Anonymous })
}

// mountPoint is a mount that a user asked for.
type mountPoint struct {
	Type        mount.Type // bind, volume or tmpfs
	Name        string     `json:",omitempty"` // of a volume
	Source      string     `json:",omitempty"` // of a bind
	Target      string
	Mode        string            `json:",omitempty"` // as given with -v, for inspect
	ReadOnly    bool              `json:",omitempty"`
	Propagation mount.Propagation `json:",omitempty"`
	NoCopy      bool              `json:",omitempty"` // of a volume: stays empty
	Create      bool              `json:",omitempty"` // of a bind: the source is made when missing, as -v does
	Anonymous   bool              `json:",omitempty"` // of a volume: made for this container
	Options     []string          `json:",omitempty"` // of a tmpfs
	Labels      map[string]string `json:",omitempty"` // of a volume that is made for it
}

// phase is where a container is in its life. On disk and in memory it is the
// same but for what a crash interrupted.
type phase string

const (
	phaseCreated  phase = "created"
	phaseStarting phase = "starting"
	phaseRunning  phase = "running"
	phasePaused   phase = "paused"
	phaseExited   phase = "exited"
	phaseRemoving phase = "removing"
	phaseDead     phase = "dead" // its removal failed
)

// active says whether a kernel is, or may be, running the workload.
func (p phase) active() bool { return p == phaseRunning || p == phasePaused }

// status is what a container is doing: state.json.
type status struct {
	Phase      phase
	PID        int         `json:",omitempty"` // on the agent's kernel
	ExitCode   int         `json:",omitempty"`
	OOMKilled  bool        `json:",omitempty"`
	Error      string      `json:",omitempty"` // why the last start failed or the kernel ended
	StartedAt  time.Time   `json:",omitzero"`
	FinishedAt time.Time   `json:",omitzero"`
	Networks   attachments `json:",omitzero"`
	Owner      int         `json:",omitempty"` // first of the user IDs that it has since its start, if they are another's
	// Health is replaced as a whole and never changed; nil: never checked.
	Health *container.Health `json:",omitempty"`
	// Ended is how the workload has ended, while what it had of the host is
	// being given back: afterwards nobody else knows.
	Ended *ended `json:",omitempty"`
	// What the restart policy goes by. Restarting says that a start of its own
	// is to come or under way, Restarts how many there were since a user's
	// start, Delay how long the last one waited.
	Restarting bool          `json:",omitempty"`
	Restarts   int           `json:",omitempty"`
	Delay      time.Duration `json:",omitempty"`
	// Stopped says that a user has sent a signal since the start, CalledOff
	// that it was one to end the container.
	Stopped   bool `json:",omitempty"`
	CalledOff bool `json:",omitempty"`
	// Borrowed says that a kernel was placed for the files of a stopped
	// container. A daemon that finds it on disk takes that kernel away.
	Borrowed bool `json:",omitempty"`
}

// up says whether a container runs in the sight of users: also while it waits
// for its restart, as with Docker.
func (s *status) up() bool { return s.Phase.active() || s.Restarting }

// ended is an end, and why when that is not the workload's doing.
type ended struct {
	agent.Exit
	Why string `json:",omitempty"`
}

// idle is the phase of a container that has ended or never ran.
func (s *status) idle() phase {
	if s.StartedAt.IsZero() {
		return phaseCreated
	}
	return phaseExited
}
