package runtime

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// control is a socket between the agent and a stage of it. Each message is
// JSON with any number of descriptors, and a blob (see agent.Blobber).
type control struct {
	*net.UnixConn
}

const (
	fdBatch        = 200 // SCM_RIGHTS carries 253 at most
	maxControlFDs  = 4096
	maxControlBody = 2 * agent.MaxFrame
)

// controlPair returns this side and the descriptor of the other.
func controlPair() (*control, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	c, err := controlOf(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return c, fds[1], nil
}

// controlOf takes over fd.
func controlOf(fd int) (*control, error) {
	f := os.NewFile(uintptr(fd), "control")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use the control socket: %w", err)
	}
	return &control{conn.(*net.UnixConn)}, nil
}

// send writes v and the descriptors, which stay the caller's.
func (c *control) send(v any, fds ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode a control message: %w", err)
	}
	var head [12]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(body)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(fds)))
	if b, ok := v.(agent.Blobber); ok {
		binary.BigEndian.PutUint32(head[8:], uint32(len(*b.Blob())))
		body = append(body, *b.Blob()...)
	}
	p := head[:]
	for first := true; first || len(fds) > 0; first = false {
		batch := fds[:min(len(fds), fdBatch)]
		fds = fds[len(batch):]
		var oob []byte
		if len(batch) > 0 {
			oob = unix.UnixRights(batch...)
		}
		if _, _, err := c.WriteMsgUnix(p, oob, nil); err != nil {
			return fmt.Errorf("cannot send a control message: %w", err)
		}
		p = []byte{0}
	}
	if _, err := c.Write(body); err != nil {
		return fmt.Errorf("cannot send a control message: %w", err)
	}
	return nil
}

// receive reads a message into v. The descriptors are the caller's, close on
// exec. It returns io.EOF when the other side has closed.
func (c *control) receive(v any) (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	var head [12]byte
	if err := c.readMsg(head[:], &fds); err != nil {
		return fds, err
	}
	size, want, blob := binary.BigEndian.Uint32(head[:]), int(binary.BigEndian.Uint32(head[4:])), binary.BigEndian.Uint32(head[8:])
	if size > maxControlBody || blob > maxControlBody || want > maxControlFDs {
		return fds, fmt.Errorf("cannot read a control message of %d and %d bytes and %d descriptors", size, blob, want)
	}
	for len(fds) < want {
		before := len(fds)
		if err := c.readMsg(make([]byte, 1), &fds); err != nil {
			return fds, err
		}
		if len(fds) == before {
			return fds, fmt.Errorf("a control message lacks descriptors: %d of %d", len(fds), want)
		}
	}
	body := make([]byte, size+blob)
	if _, err := io.ReadFull(c, body); err != nil {
		return fds, fmt.Errorf("cannot read a control message: %w", err)
	}
	if err := json.Unmarshal(body[:size], v); err != nil {
		return fds, fmt.Errorf("cannot decode a control message: %w", err)
	}
	if b, ok := v.(agent.Blobber); ok && blob > 0 {
		*b.Blob() = body[size:]
	}
	return fds, nil
}

func (c *control) readMsg(p []byte, fds *[]int) error {
	oob := make([]byte, unix.CmsgSpace(4*253))
	n, oobn, flags, _, err := c.ReadMsgUnix(p, oob)
	if n == 0 && (err == nil || errors.Is(err, io.EOF)) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return fmt.Errorf("cannot parse ancillary data: %w", err)
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fmt.Errorf("cannot parse ancillary data: %w", err)
		}
		*fds = append(*fds, got...)
	}
	if n != len(p) || flags&unix.MSG_CTRUNC != 0 {
		return fmt.Errorf("a control message is cut short")
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
