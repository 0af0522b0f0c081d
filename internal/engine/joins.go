package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// joined is what a container has of others, because it joins their namespaces.
// Namespaces belong to users: who joins one joins the other container's users
// too, as with Docker's userns-remap, and has their IDs on the host while it
// runs.
type joined struct {
	namespaces map[specs.LinuxNamespaceType]string // to the IDs of the others
	owner      int                                 // the first of the user IDs
	shm        agent.Mount                         // of who shares its IPC
	// Of who shares its network:
	files            []agent.File
	hostname, domain string
}

// named gives the container the name of the one whose network it joins, as
// Docker does.
func (c *Container) named(rec *record, j *joined) (*record, error) {
	if j == nil || j.hostname == "" || rec.Config.Hostname == j.hostname && rec.Config.Domainname == j.domain {
		return rec, nil
	}
	other, config := *rec, *rec.Config
	config.Hostname, config.Domainname = j.hostname, j.domain
	other.Config = &config
	return &other, c.saveRecord(&other)
}

// sharedOwner keeps the user IDs that the container has of another as long as
// it may have them, and returns the first; 0: it has its own.
func (c *Container) sharedOwner(rec *record, j *joined) int {
	if j == nil || j.owner == rec.Owner {
		return 0
	}
	c.e.containers.share(c.id, j.owner)
	return j.owner
}

// asJoined is the container with what it has of others.
func (rec *record) asJoined(j *joined) *record {
	if j == nil {
		return rec
	}
	other := *rec
	other.joined, other.Owner = j, j.owner
	return &other
}

// joins says whether a container joins namespaces of others.
func joins(h *container.HostConfig) bool {
	return h.NetworkMode.IsContainer() || h.PidMode.IsContainer() || h.IpcMode.IsContainer()
}

// checkJoinedNetwork refuses what belongs to the container whose network another
// one joins, in Docker's words. It looks at what the user has asked for, not the
// image.
func checkJoinedNetwork(c *container.Config, h *container.HostConfig, net *apinetwork.NetworkingConfig) error {
	if h == nil || !h.NetworkMode.IsContainer() {
		return nil
	}
	mac := false
	if net != nil {
		for _, ep := range net.EndpointsConfig {
			mac = mac || ep != nil && len(ep.MacAddress) > 0
		}
	}
	for _, conflicts := range []struct {
		set  bool
		what string
	}{
		{h.NetworkMode.ConnectedContainer() == "", "invalid network mode: invalid container format container:<name|id>"},
		{c.Hostname != "", "conflicting options: hostname and the network mode"},
		{len(h.Links) > 0, "conflicting options: container type network can't be used with links. This would result in undefined behavior"},
		{len(h.DNS) > 0, "conflicting options: dns and the network mode"},
		{len(h.ExtraHosts) > 0, "conflicting options: custom host-to-IP mapping and the network mode"},
		{mac, "conflicting options: mac-address and the network mode"},
		{len(h.PortBindings) > 0 || h.PublishAllPorts, "conflicting options: port publishing and the container type network mode"},
		{len(c.ExposedPorts) > 0, "conflicting options: port exposing and the container type network mode"},
	} {
		if conflicts.set {
			return invalid("%s", conflicts.what)
		}
	}
	return nil
}

// nameJoined writes IDs in the place of the names of those that are joined, so
// that they can be renamed. Whom it does not find the start tells. One behind
// another wall is refused now.
func (e *Engine) nameJoined(h *container.HostConfig) error {
	resolve := func(option, name string) (string, error) {
		c, err := e.containers.find(name)
		if err != nil {
			return name, nil
		}
		rec, _ := c.snapshot()
		return c.id, checkDonor(option, rec)
	}
	if h.NetworkMode.IsContainer() {
		id, err := resolve("--network", h.NetworkMode.ConnectedContainer())
		if err != nil {
			return err
		}
		h.NetworkMode = container.NetworkMode(agent.JoinPrefix + id)
	}
	if h.PidMode.IsContainer() {
		id, err := resolve("--pid", h.PidMode.Container())
		if err != nil {
			return err
		}
		h.PidMode = container.PidMode(agent.JoinPrefix + id)
	}
	if h.IpcMode.IsContainer() {
		id, err := resolve("--ipc", h.IpcMode.Container())
		if err != nil {
			return err
		}
		h.IpcMode = container.IpcMode(agent.JoinPrefix + id)
	}
	return nil
}

// checkDonor refuses to join what is on another kernel.
func checkDonor(option string, rec *record) error {
	if rec.Isolation == kernel.Container {
		return nil
	}
	return invalid("cannot use %s container:%s: that container has a kernel of its own (isolation %q), and its namespaces are there; containers of a network reach each other by name", option, rec.Name, rec.Isolation)
}

// donor is a container that runs and whose namespace others may join.
func (e *Engine) donor(option, name string) (*record, *status, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, nil, invalid("%v", err)
	}
	rec, st := c.snapshot()
	if err := checkDonor(option, rec); err != nil {
		return nil, nil, err
	}
	switch {
	case st.Restarting:
		return nil, nil, conflict("Container %s is restarting, wait until the container is running", name)
	case !st.Phase.active():
		return nil, nil, conflict("container %s is not running", name)
	}
	return rec, &st, nil
}

// joinOthers finds whom a container joins, as it is started. Nil: nobody.
func (e *Engine) joinOthers(rec *record) (*joined, error) {
	h := rec.Host
	if !joins(h) {
		return nil, nil
	}
	j := &joined{namespaces: map[specs.LinuxNamespaceType]string{}, owner: rec.Owner}
	if h.PidMode.IsContainer() {
		other, st, err := e.donor("--pid", h.PidMode.Container())
		if err == nil {
			err = j.join(specs.PIDNamespace, h, other, st)
		}
		if err != nil {
			return nil, prefixed("failed to join PID namespace", err)
		}
	}
	if h.IpcMode.IsContainer() {
		other, st, err := e.donor("--ipc", h.IpcMode.Container())
		if err == nil {
			err = j.join(specs.IPCNamespace, h, other, st)
		}
		if err == nil {
			err = j.joinShm(other)
		}
		if err != nil {
			return nil, prefixed("failed to join IPC namespace", err)
		}
	}
	if h.NetworkMode.IsContainer() {
		if err := e.joinNetwork(j, rec); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// join adds a namespace, and the users to whom it belongs.
func (j *joined) join(kind specs.LinuxNamespaceType, h *container.HostConfig, other *record, st *status) error {
	owner := other.Owner
	if st.Owner != 0 {
		owner = st.Owner
	}
	others := j.namespaces[specs.UserNamespace]
	switch {
	case h.UsernsMode.IsHost(): // which has privileges over all
	case other.Host.UsernsMode.IsHost():
		// A network can be used without any. Its own users have none there.
		if kind != specs.NetworkNamespace {
			return invalid("the users of container %s are the host's, and this one has its own: run it with --userns host too", other.Name)
		}
	case others != "" && j.owner != owner:
		return invalid("containers %s and %s have users of their own each: join one of them, or one that has joined the other", shortID(others), other.Name)
	default:
		j.namespaces[specs.UserNamespace], j.owner = other.ID, owner
	}
	j.namespaces[kind] = other.ID
	return nil
}

// joinShm takes the other's /dev/shm over.
func (j *joined) joinShm(other *record) error {
	mode := other.Host.IpcMode
	own := slices.ContainsFunc(other.Mounts, func(m mountPoint) bool { return m.Target == shmPath })
	switch {
	case mode.IsHost():
		j.shm = hostShm
	case own || !mode.IsShareable() && !mode.IsContainer():
		return invalid("container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", other.ID)
	default:
		j.shm = agent.Mount{Type: agent.MountOf, Source: other.ID, Target: shmPath}
	}
	return nil
}

// joinNetwork joins another's network, with its names.
func (e *Engine) joinNetwork(j *joined, rec *record) error {
	name := rec.Host.NetworkMode.ConnectedContainer()
	other, st, err := e.donor("--network", name)
	switch {
	case name == rec.ID:
		return invalid("cannot join own network namespace")
	case errdefs.IsConflict(err):
		return conflict("cannot join network namespace of a non running container: %v", err)
	case err != nil:
		return prefixed("joining network namespace of container", err)
	}
	if err := j.join(specs.NetworkNamespace, rec.Host, other, st); err != nil {
		return prefixed("joining network namespace of container", err)
	}
	j.hostname, j.domain = other.Config.Hostname, other.Config.Domainname
	files, err := other.files(&st.Networks)
	if err != nil {
		return err
	}
	for _, f := range files {
		f.Of = other.ID
		j.files = append(j.files, f)
	}
	return nil
}

// prefixed is err, of the same class, with words before it.
func prefixed(what string, err error) error {
	var c *classed
	if errors.As(err, &c) {
		return errorf(c.class, "%s: %v", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
