package qmp

import (
	"context"
	"os"
)

// Disks is what a running guest's disks and log are made of from now on. Files
// are named as the hypervisor finds them (/dev/fdset/N).
type Disks struct {
	ImageDriver, Image string
	Writable           string
	Log                string
}

// Hand gives the hypervisor a file, to open as /dev/fdset/set.
func (c *Conn) Hand(ctx context.Context, file *os.File, set int) error {
	return c.RunFile(ctx, file, "add-fd", map[string]any{"fdset-id": set}, nil)
}

// Swap puts other files under the nodes "image" and "writable", whose guest has
// neither mounted, and behind the character device "log".
func (c *Conn) Swap(ctx context.Context, d Disks) error {
	type args = map[string]any
	for _, cmd := range []Command{
		{"blockdev-add", args{"node-name": "image1", "read-only": true, "driver": d.ImageDriver, "file": args{"driver": "file", "filename": d.Image}}},
		{"blockdev-add", args{"node-name": "writable1", "discard": "unmap", "driver": "file", "filename": d.Writable}},
		{"blockdev-reopen", args{"options": []args{
			{"node-name": "image", "read-only": true, "driver": "raw", "file": "image1"},
			{"node-name": "writable", "discard": "unmap", "driver": "raw", "file": "writable1"},
		}}},
		{"blockdev-del", args{"node-name": "image0"}},
		{"blockdev-del", args{"node-name": "writable0"}},
		{"chardev-change", args{"id": "log", "backend": args{"type": "file", "data": args{"out": d.Log, "append": true}}}},
	} {
		if err := c.Run(ctx, cmd.Execute, cmd.Arguments, nil); err != nil {
			return err
		}
	}
	return nil
}
