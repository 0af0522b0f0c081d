// Package wire is what the two ends of a share say to each other: the guest's
// agent and the host's share process.
//
// The channel is that of package agent, with the host as the side that
// connects. The guest opens one yamux stream for each mount. It writes a frame
// with a MountRequest, gets one with a MountResponse, and from then on frames
// carry raw FUSE messages: requests to the host, replies to the guest. A frame
// is a 4-byte big-endian length and as many bytes. The mount ends with its
// stream.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// MaxWrite is the largest read or write of a file in one message, in bytes;
// the most that Linux allows with 32 pages.
const MaxWrite = 128 << 10

// MaxFrame bounds a frame's contents, in bytes: a write and the headers of any
// message, and not less than what the kernel wants to have room for when it is
// asked for a request (FUSE_MIN_READ_BUFFER).
const MaxFrame = MaxWrite + 8192

// MaxTag bounds the length of a share's tag.
const MaxTag = 64

// Patience makes a session wait for the other side as a local disk would be
// waited for. A guest, or its hypervisor, that stands still for minutes must
// find its files again; when one of them ends, the connection tells.
func Patience(c *yamux.Config) {
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 24 * time.Hour
}

// MountRequest names the share that a stream is to serve.
type MountRequest struct {
	Tag string
}

// MountResponse says what is mounted, or why nothing is.
type MountResponse struct {
	// Mode is the type of the share's root, as st_mode has it: a directory, or
	// a file that is shared alone.
	Mode  uint32
	Error string `json:",omitempty"`
}

// ErrTooLong is returned for a frame that is longer than MaxFrame.
var ErrTooLong = errors.New("a message of the share is too long")

// Buffer is the room for one frame: its length, then its contents.
type Buffer [4 + MaxFrame]byte

// Body is where the contents go.
func (b *Buffer) Body() []byte { return b[4:] }

// Frame returns the frame for the first n bytes of the body.
func (b *Buffer) Frame(n int) []byte {
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return b[:4+n]
}

// Read reads a frame into b and returns its contents, which are valid until
// b is used again.
func Read(r io.Reader, b *Buffer) ([]byte, error) {
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b[:4])
	if n > MaxFrame {
		return nil, ErrTooLong
	}
	body := b.Body()[:n]
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

// Send writes v as a frame of JSON.
func Send(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > MaxFrame {
		return ErrTooLong
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// Receive reads a frame of JSON.
func Receive(r io.Reader, v any) error {
	var b Buffer
	body, err := Read(r, &b)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("cannot read the share's greeting: %w", err)
	}
	return nil
}
