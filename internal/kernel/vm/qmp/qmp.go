// Package qmp speaks the QEMU Machine Protocol (docs/interop/qmp-spec.txt in
// QEMU's sources): one JSON object a line, a greeting, then commands that are
// answered in order, and events in between.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine bounds what QEMU may send as one object. Nothing here asks for more.
const maxLine = 1 << 20

// Conn is a connection to a monitor. A monitor serves one at a time. It is not
// safe for concurrent use.
type Conn struct {
	c  *net.UnixConn
	in *bufio.Scanner
}

// Error is QEMU's refusal of a command.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

type message struct {
	QMP    json.RawMessage `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	Event  string          `json:"event"`
}

// Dial connects to the monitor at path and leaves the negotiation mode.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the hypervisor's monitor: %w", err)
	}
	c := &Conn{c: nc.(*net.UnixConn), in: bufio.NewScanner(nc)}
	c.in.Buffer(make([]byte, 0, 4096), maxLine)
	defer c.guard(ctx)()
	m, err := c.read()
	if err == nil && m.QMP == nil {
		err = errors.New("it does not greet")
	}
	if err == nil {
		err = c.run(nil, "qmp_capabilities", nil, nil)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("cannot talk to the hypervisor's monitor: %w", err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.c.Close() }

// guard breaks reads and writes when ctx ends; the result undoes it.
func (c *Conn) guard(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Run executes a command; args and result may be nil.
func (c *Conn) Run(ctx context.Context, command string, args, result any) error {
	return c.RunFile(ctx, nil, command, args, result)
}

// RunFile is Run with a file that goes along, as "getfd" wants it.
func (c *Conn) RunFile(ctx context.Context, file *os.File, command string, args, result any) error {
	defer c.guard(ctx)()
	err := c.run(file, command, args, result)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("cannot run the hypervisor's %s: %w", command, err)
	}
	return nil
}

func (c *Conn) run(file *os.File, command string, args, result any) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, args})
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := c.c.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		return err
	}
	for {
		m, err := c.read()
		switch {
		case err != nil:
			return err
		case m.Error != nil:
			return m.Error
		case m.Return != nil:
			if result == nil {
				return nil
			}
			return json.Unmarshal(m.Return, result)
		}
	}
}

func (c *Conn) read() (message, error) {
	if !c.in.Scan() {
		if err := c.in.Err(); err != nil {
			return message{}, err
		}
		return message{}, errors.New("it closed the connection")
	}
	var m message
	if err := json.Unmarshal(c.in.Bytes(), &m); err != nil {
		return message{}, fmt.Errorf("it sent no JSON: %w", err)
	}
	return m, nil
}
