package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// Rewire changes the interfaces of a running container.
func (r *Runtime) Rewire(ctx context.Context, req *agent.RewireRequest) error {
	c, err := r.get(req.ID)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	switch {
	case c.gone:
		return errorf(agent.ClassNoContainer, "%w: %s", errNoContainer, req.ID)
	case !c.main.running():
		return errorf(agent.ClassConflict, "container %s is not running", req.ID)
	case !c.owns(unix.CLONE_NEWNET):
		return errorf(agent.ClassConflict, "container %s has no network of its own", req.ID)
	}
	for _, l := range req.Add {
		if !l.Above {
			err = moveLink(l.Name, c.main.pid)
		} else if b := r.withdraw(l.Name); b != nil { // the device waits for a container that begins with it
			err = r.giveUp(ctx, b)
		}
		if err != nil {
			return err
		}
	}
	host, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer host.Close()
	ns, err := os.Open(procPath(c.main.pid, "ns/net"))
	if err == nil {
		defer ns.Close()
		err = c.main.signal(0) // the number was its own when it was opened
	}
	if err != nil {
		return errorf(agent.ClassConflict, "container %s is not running", req.ID)
	}
	w := &wiring{host: int(host.Fd())}
	if err := inNetwork(int(ns.Fd()), func() error { return w.change(req) }); err != nil {
		return err
	}
	return c.refill(req.Files)
}

// wiring is the work of a RewireRequest inside the container's network
// namespace.
type wiring struct {
	h    *netlink.Handle
	host int // this kernel's own network namespace
}

func (w *wiring) change(req *agent.RewireRequest) (err error) {
	if w.h, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("cannot speak to the container's network: %w", err)
	}
	defer w.h.Close()
	for _, name := range req.Remove {
		if err := w.remove(name); err != nil {
			return fmt.Errorf("cannot remove the interface %s: %w", name, err)
		}
	}
	for _, l := range req.Add {
		if err := w.clear(l.NewName); err != nil {
			return err
		}
		if l.Above {
			if l, err = w.above(l); err != nil {
				return err
			}
		}
		if err := setUpLinks([]agent.Link{l}); err != nil {
			return err
		}
	}
	if req.Default == nil {
		return nil
	}
	return w.setDefault(req.Default)
}

// clear removes what a daemon has left that died before it had written down
// what it did.
func (w *wiring) clear(name string) error {
	link, err := w.h.LinkByName(name)
	if err == nil && (link.Type() == "macvlan" || link.Type() == "device") {
		return w.remove(name)
	}
	return nil
}

// remove takes an interface away. The kernel's own device cannot be removed,
// and others may lie above it: it goes back to where it came from, up and
// without an address. It is no error when there is none of that name.
func (w *wiring) remove(name string) error {
	link, err := w.h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	if link.Type() != "device" {
		return w.h.LinkDel(link)
	}
	if err := w.h.LinkSetNsFd(link, w.host); err != nil { // which loses its addresses
		return err
	}
	return w.atHost(func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		// An interface above it may get the address that it had.
		if mac := link.Attrs().PermHWAddr; mac != nil {
			if err := h.LinkSetHardwareAddr(link, mac); err != nil {
				return err
			}
		}
		// The move made it forget what addresses they have (dev_uc_flush in
		// net/core/dev.c), so it takes all.
		if err := h.SetPromiscOn(link); err != nil {
			return err
		}
		return h.LinkSetUp(link)
	})
}

// unnamed is what an interface is called that is on its way into a container.
const unnamed = "abode-new"

// above finds the device above which an interface shall lie. If it is not in
// the container, the interface is made where it is, and brought here.
func (w *wiring) above(l agent.Link) (agent.Link, error) {
	links, err := w.h.LinkList()
	if err != nil {
		return l, fmt.Errorf("cannot list the container's interfaces: %w", err)
	}
	for _, here := range links {
		if here.Type() == "device" && here.Attrs().Index != loopback {
			l.Name = here.Attrs().Name
			return l, nil
		}
	}
	err = w.atHost(func(h *netlink.Handle) error {
		device, err := h.LinkByName(l.Name)
		if err != nil {
			return err
		}
		if err := h.LinkSetUp(device); err != nil {
			return err
		}
		made := l
		made.NewName = unnamed
		if err := makeAbove(h, made); err != nil {
			return err
		}
		link, err := h.LinkByName(unnamed)
		if err == nil {
			err = h.LinkSetNsPid(link, unix.Gettid())
		}
		return err
	})
	if err != nil {
		return l, fmt.Errorf("cannot make the interface %s above %s: %w", l.NewName, l.Name, err)
	}
	l.Name, l.Above = unnamed, false
	return l, nil
}

// atHost calls f with a handle of this kernel's own network namespace.
func (w *wiring) atHost(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(w.host), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return f(h)
}

// setDefault replaces the default routes.
func (w *wiring) setDefault(l *agent.Link) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := w.h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if err != nil {
			return fmt.Errorf("cannot list the container's routes: %w", err)
		}
		for _, r := range routes {
			if err := w.h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("cannot remove the default route %s: %w", r, err)
			}
		}
	}
	if l.Name == "" {
		return nil
	}
	link, err := w.h.LinkByName(l.Name)
	if err != nil {
		return fmt.Errorf("cannot find the interface %s: %w", l.Name, err)
	}
	return addDefaults(w.h, link.Attrs().Index, l.Gateways)
}

// refill gives files their new content.
func (c *container) refill(files []agent.File) error {
	for _, f := range files {
		i := slices.IndexFunc(c.req.Files, func(old agent.File) bool { return old.Path == f.Path })
		if i < 0 {
			continue
		}
		p := filePath(c.dir, i)
		same, err := holds(p, c.req.Files[i].Content)
		if err == nil && !same {
			continue
		}
		if err == nil {
			err = os.WriteFile(p, f.Content, 0)
		}
		if err != nil {
			return fmt.Errorf("cannot write the file %s: %w", f.Path, err)
		}
		c.req.Files[i].Content = f.Content
	}
	return nil
}

// holds says whether a file, which may be of any size, has that content.
func holds(path string, content []byte) (bool, error) {
	fi, err := os.Stat(path)
	if err != nil || fi.Size() != int64(len(content)) {
		return false, err
	}
	have, err := os.ReadFile(path)
	return bytes.Equal(have, content), err
}
