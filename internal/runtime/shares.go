package runtime

import (
	"context"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/share/guest"
)

// Shares are mounted by the init stage, because FUSE takes the IDs of a mount
// from the user namespace that it was made in, and wants its device to be
// opened there. The stage sends the open devices, and goes on while the agent
// relays what arrives on them.

// deviceRules is the part of the specification that restricts devices. With
// shares it lets the stage, which is in the container's cgroup, open FUSE's.
// The workload finds no such device, and can make none.
func (c *container) deviceRules() *specs.Linux {
	linux := *c.spec.Linux
	if c.req.Privileged {
		linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "a"}}}
		return &linux
	}
	if !slices.ContainsFunc(c.req.Mounts, func(m agent.Mount) bool { return m.Type == agent.MountShare }) {
		return &linux
	}
	var res specs.LinuxResources
	if linux.Resources != nil {
		res = *linux.Resources
	}
	major, minor := int64(10), int64(229)
	res.Devices = append(slices.Clone(res.Devices), specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rw"})
	linux.Resources = &res
	return &linux
}

// openShare opens the stream for a share that a container mounts.
func (r *Runtime) openShare(ctx context.Context, c *container, m agent.Mount, sm stageMount) (stageMount, int, error) {
	if r.cfg.Share == nil {
		return sm, -1, errorf(agent.ClassInvalid, "this kernel has no shares")
	}
	attr, err := bindAttr(m)
	if err != nil {
		return sm, -1, err
	}
	s, err := r.cfg.Share(ctx, m.Source)
	if err != nil {
		return sm, -1, err
	}
	c.shares = append(c.shares, s)
	sm.Share, sm.Attrs = s.Mode, attr.Attr_set
	sm.Dir = s.Mode&unix.S_IFMT == unix.S_IFDIR
	return sm, -1, nil
}

// closeShares closes the streams that no stage has mounted.
func (c *container) closeShares() {
	for _, s := range c.shares {
		s.Close()
	}
	c.shares = nil
}

// receiveReady receives the stage's last word before the workload's execve,
// and before that the devices of its shares, whose relays it starts.
func (r *Runtime) receiveReady(c *container, ctl *control, reply *stageReply) (fds []int, err error) {
	if len(c.shares) > 0 {
		if fds, err = ctl.receive(reply); err != nil || reply.Error != nil {
			return fds, err
		}
		if len(fds) != len(c.shares) {
			closeAll(fds)
			return nil, fmt.Errorf("the container's first process mounted %d shares, not %d", len(fds), len(c.shares))
		}
		for i, s := range c.shares {
			dev := os.NewFile(uintptr(fds[i]), guest.Device)
			go func() {
				if err := guest.Relay(dev, s); err != nil {
					r.log.Warn("a share has ended before its container", "container", c.id, "error", err)
				}
			}()
		}
		c.shares = nil
		*reply = stageReply{}
	}
	return ctl.receive(reply)
}

// openShares mounts the container's shares, detached, and hands the agent
// their devices. Nothing may look into them before.
func (b *builder) openShares() error {
	var devices []int
	defer func() { closeAll(devices) }()
	for i := range b.cfg.Mounts {
		m := &b.cfg.Mounts[i]
		if m.Share == 0 {
			continue
		}
		// The kernel's own root is still there.
		dev, err := unix.Open(guest.Device, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot open %s for the mount on %s: %w", guest.Device, m.Target, err)
		}
		devices = append(devices, dev)
		mount, err := fsMount("fuse", int(m.Attrs)|unix.MOUNT_ATTR_NODEV, append(guest.Options(dev, m.Share), "source=abode")...)
		if err != nil {
			return fmt.Errorf("cannot mount the share on %s: %w", m.Target, err)
		}
		m.FD = len(b.fds)
		b.fds = append(b.fds, mount)
	}
	if len(devices) == 0 {
		return nil
	}
	return b.ctl.send(stageReply{}, devices...)
}
