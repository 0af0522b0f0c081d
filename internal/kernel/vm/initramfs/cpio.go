package initramfs

import (
	"fmt"
	"io"
)

// A cpioWriter writes the "newc" format that Linux unpacks at boot
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w   io.Writer
	ino uint32
	err error
}

// Modes of entries.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
	modeLink = 0o120000
)

var zeros [4]byte

func (c *cpioWriter) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}

// entry writes one header, name and content; major and minor are for devices.
func (c *cpioWriter) entry(name string, mode, major, minor uint32, content []byte) {
	c.ino++
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	c.write([]byte(head))
	c.write(zeros[:-len(head)&3])
	c.write(content)
	c.write(zeros[:-len(content)&3])
}

func (c *cpioWriter) dir(name string)      { c.entry(name, modeDir|0o755, 0, 0, nil) }
func (c *cpioWriter) link(name, to string) { c.entry(name, modeLink|0o777, 0, 0, []byte(to)) }
func (c *cpioWriter) char(name string, ma, mi int) {
	c.entry(name, modeChar|0o600, uint32(ma), uint32(mi), nil)
}
func (c *cpioWriter) file(name string, mode uint32, content []byte) {
	c.entry(name, modeFile|mode, 0, 0, content)
}

func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	return c.err
}
