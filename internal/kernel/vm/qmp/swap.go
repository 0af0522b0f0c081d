package qmp

import (
	"context"
	"os"
	"strconv"
)

// Disks is what a running guest's disks are made of from now on. Files are
// named as the hypervisor finds them (/dev/fdset/N).
type Disks struct {
	ImageDriver, Image string
	Writable           string
}

// Hand gives the hypervisor a file, to open as /dev/fdset/set.
func (c *Conn) Hand(ctx context.Context, file *os.File, set int) error {
	return c.RunFile(ctx, file, "add-fd", map[string]any{"fdset-id": set}, nil)
}

type args = map[string]any

// Swap puts other files under the nodes "image" and "writable", whose guest has
// neither mounted. A hypervisor begins with image0 and writable0 under them.
func (c *Conn) Swap(ctx context.Context, d Disks) error {
	name := func(node string, n int) string { return node + strconv.Itoa(n) }
	old := c.swaps
	c.swaps++
	return c.runAll(ctx,
		Command{"blockdev-add", args{"node-name": name("image", c.swaps), "read-only": true, "driver": d.ImageDriver, "file": args{"driver": "file", "filename": d.Image}}},
		Command{"blockdev-add", args{"node-name": name("writable", c.swaps), "discard": "unmap", "driver": "file", "filename": d.Writable}},
		Command{"blockdev-reopen", args{"options": []args{
			{"node-name": "image", "read-only": true, "driver": "raw", "file": name("image", c.swaps)},
			{"node-name": "writable", "discard": "unmap", "driver": "raw", "file": name("writable", c.swaps)},
		}}},
		Command{"blockdev-del", args{"node-name": name("image", old)}},
		Command{"blockdev-del", args{"node-name": name("writable", old)}},
	)
}

// SetLog puts another file, which the hypervisor appends to, behind the
// character device "log".
func (c *Conn) SetLog(ctx context.Context, file string) error {
	return c.runAll(ctx, Command{"chardev-change", args{"id": "log", "backend": args{"type": "file", "data": args{"out": file, "append": true}}}})
}

func (c *Conn) runAll(ctx context.Context, commands ...Command) error {
	for _, cmd := range commands {
		if err := c.Run(ctx, cmd.Execute, cmd.Arguments, nil); err != nil {
			return err
		}
	}
	return nil
}
