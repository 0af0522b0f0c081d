package network

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Taps are the host's ends of guests' network devices. A guest has one for its
// life, whatever networks it joins and leaves: it is the port of one
// (Request.Port), and behind it are the guest's interfaces in others
// (Request.Trunk). Its methods may be called concurrently, for one tap one at a
// time.
type Taps struct{ bridge string }

// NewTaps returns those of the engine with that default bridge, from which
// their names are derived.
func NewTaps(bridge string) *Taps { return &Taps{bridge} }

// Make makes a guest's tap, which the user owner may open. Nothing passes until
// it is a port, or Open. What an earlier one of the ID left is replaced.
func (t *Taps) Make(id string, owner int) (name string, err error) {
	name = linkName(t.bridge, kindTap, id)
	if err := t.Remove(name); err != nil {
		return "", err
	}
	if err := makeTap(name, owner); err != nil {
		return "", fmt.Errorf("cannot make tap %s: %w; check that /dev/net/tun exists (modprobe tun)", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetMTU(link, uplinkMTU())
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("cannot set up tap %s: %w", name, err), t.Remove(name))
	}
	return name, nil
}

// Stands says whether a tap is there.
func (t *Taps) Stands(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// Open lets frames pass through a tap that is no port: to what lies behind it,
// and nowhere else. It is called before the port is taken from a bridge.
func (t *Taps) Open(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = detour(name, detourRule{dev: name, last: true})
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("cannot open tap %s: %w", name, err)
	}
	return nil
}

// Close undoes Open, for a tap that is a port.
func (t *Taps) Close(name string) error { return dropDetours(name) }

// Remove removes a tap, if it is there.
func (t *Taps) Remove(name string) error {
	if _, err := netlink.LinkByName(name); isGone(err) {
		return nil
	}
	return errors.Join(dropDetours(name), removeLink(name))
}

// Sweep removes the taps that are none of keep.
func (t *Taps) Sweep(keep []string) error {
	links, err := linkList()
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		name := l.Attrs().Name
		if len(name) == unix.IFNAMSIZ-1 && strings.HasPrefix(name, linkPrefix(t.bridge)+kindTap) && !slices.Contains(keep, name) {
			errs = append(errs, t.Remove(name))
		}
	}
	return errors.Join(errs...)
}
