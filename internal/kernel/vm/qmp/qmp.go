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
	c     *net.UnixConn
	in    *bufio.Scanner
	swaps int // of disks
}

// Error is QEMU's refusal of a command.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

type message struct {
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
}

// Pair returns a connection and its other end, which is for a hypervisor.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the hypervisor's monitor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "monitor")
	defer ours.Close()
	nc, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot make the hypervisor's monitor: %w", err)
	}
	c := &Conn{c: nc.(*net.UnixConn), in: bufio.NewScanner(nc)}
	c.in.Buffer(make([]byte, 0, 4096), maxLine)
	return c, theirs, nil
}

// A Command is one of several that are sent at once.
type Command struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

// Begin leaves the negotiation mode and runs commands, all in one go: the
// first that fails is the error.
func (c *Conn) Begin(ctx context.Context, commands ...Command) error {
	defer c.guard(ctx)()
	commands = append([]Command{{Execute: "qmp_capabilities"}}, commands...)
	var lines []byte
	for _, cmd := range commands {
		line, err := json.Marshal(cmd)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := c.c.Write(lines)
	for _, cmd := range commands {
		if err == nil {
			err = c.answer(nil)
		}
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("cannot run the hypervisor's %s: %w", cmd.Execute, err)
		}
	}
	return nil
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
	line, err := json.Marshal(Command{command, args})
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
	return c.answer(result)
}

// answer reads up to the next command's answer, past greeting and events.
func (c *Conn) answer(result any) error {
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
