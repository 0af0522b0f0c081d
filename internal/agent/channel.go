package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// The handshake's messages: a magic of eight bytes, whose first one can never
// begin a yamux frame, and a nonce of sixteen.
//
//	daemon: HELLO(nonce), again every helloEvery until the echo arrives
//	agent:  skips bytes until a HELLO; ECHO(nonce), once for each nonce
//	daemon: skips bytes until the ECHO of its nonce; GO(nonce); yamux
//	agent:  drops all until a GO with its nonce (a HELLO with another one starts over); yamux
const (
	magicHello = "\xabAbode\x01H"
	magicEcho  = "\xabAbode\x01E"
	magicGo    = "\xabAbode\x01G"

	magicLen   = 8
	nonceLen   = 16
	messageLen = magicLen + nonceLen

	helloEvery = 50 * time.Millisecond
)

var errHandshake = errors.New("the other side does not speak the agent protocol")

// maxSkip bounds the bytes of an earlier session that a side skips before it
// gives up: more than all windows and buffers on the way can hold.
const maxSkip = 64 << 20

// message builds one handshake message.
func message(magic string, nonce []byte) []byte {
	return append([]byte(magic), nonce...)
}

// scan reads until a whole message with one of the magics has passed and
// returns its magic and nonce. Bytes before it are skipped.
func scan(r io.Reader, magics ...string) (magic string, nonce []byte, err error) {
	var window [messageLen]byte
	held := 0
	for skipped := 0; skipped < maxSkip; skipped++ {
		if held == messageLen {
			copy(window[:], window[1:])
			held--
		}
		n, err := io.ReadFull(r, window[held:])
		held += n
		if err != nil {
			return "", nil, err
		}
		for _, m := range magics {
			if string(window[:magicLen]) == m {
				return m, bytes.Clone(window[magicLen:]), nil
			}
		}
		// Jump ahead to the next byte that may begin a message.
		if i := bytes.IndexByte(window[1:], magicHello[0]); i < 0 {
			held = 0
		} else if i > 0 {
			copy(window[:], window[i:])
			held = messageLen - i
		}
	}
	return "", nil, errHandshake
}

// Connect makes conn a session as the daemon's side. It owns conn from then
// on, on error too. The session ends with conn, or when keepalive misses the
// agent. Both sides may change the session's settings with tune.
func Connect(ctx context.Context, conn net.Conn, tune ...func(*yamux.Config)) (*yamux.Session, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	s, err := connect(conn, muxConfig(tune))
	if !stop() && err == nil {
		s.Close()
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("cannot greet the agent: %w", err)
	}
	return s, nil
}

func connect(conn net.Conn, c *yamux.Config) (*yamux.Session, error) {
	nonce := make([]byte, nonceLen)
	rand.Read(nonce)
	hello := message(magicHello, nonce)
	echoed := make(chan struct{})
	failed := make(chan error, 1)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		tick := time.NewTicker(helloEvery)
		defer tick.Stop()
		for {
			if _, err := conn.Write(hello); err != nil {
				failed <- err
				return
			}
			select {
			case <-echoed:
				return
			case <-tick.C:
			}
		}
	}()
	for {
		_, got, err := scan(conn, magicEcho)
		if err != nil {
			close(echoed)
			// A write that failed has closed nothing, so say why reading did.
			conn.Close()
			<-sent
			select {
			case werr := <-failed:
				err = errors.Join(err, werr)
			default:
			}
			return nil, err
		}
		if bytes.Equal(got, nonce) {
			break
		}
	}
	close(echoed)
	<-sent // no HELLO may follow GO
	if _, err := conn.Write(message(magicGo, nonce)); err != nil {
		return nil, err
	}
	return yamux.Client(&stream{ReadWriteCloser: conn}, c)
}

// Accept makes rw a session as the agent's side: it waits for a daemon's
// greeting as long as rw lives. It owns rw from then on, on error too. A
// reader that sees end of file while nobody is connected must wait by itself.
func Accept(ctx context.Context, rw io.ReadWriteCloser, tune ...func(*yamux.Config)) (*yamux.Session, error) {
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	s, err := accept(rw, muxConfig(tune))
	if !stop() && err == nil {
		s.Close()
		err = ctx.Err()
	}
	if err != nil {
		rw.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("cannot accept a session: %w", err)
	}
	return s, nil
}

func accept(rw io.ReadWriteCloser, c *yamux.Config) (*yamux.Session, error) {
	var nonce []byte
	for {
		magic, got, err := scan(rw, magicHello, magicGo)
		if err != nil {
			return nil, err
		}
		switch {
		case magic == magicGo && nonce != nil && bytes.Equal(got, nonce):
			return yamux.Server(rw, c)
		case magic == magicHello && !bytes.Equal(got, nonce):
			nonce = got
			if _, err := rw.Write(message(magicEcho, nonce)); err != nil {
				return nil, err
			}
		}
	}
}

// stream skips echoes that were still on their way when yamux began: an agent
// that was restarted in between answers each HELLO that it finds.
type stream struct {
	io.ReadWriteCloser
	begun bool
	head  []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for !s.begun {
		var first [1]byte
		if _, err := io.ReadFull(s.ReadWriteCloser, first[:]); err != nil {
			return 0, err
		}
		if first[0] != magicEcho[0] {
			s.begun, s.head = true, first[:]
			break
		}
		if _, err := io.CopyN(io.Discard, s.ReadWriteCloser, messageLen-1); err != nil {
			return 0, err
		}
	}
	if len(s.head) > 0 {
		n := copy(p, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	return s.ReadWriteCloser.Read(p)
}

// muxConfig is tuned for a guest that runs under pure emulation on a busy
// host: a side is dead only when it was silent for the better part of a minute.
func muxConfig(tune []func(*yamux.Config)) *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput = io.Discard
	c.AcceptBacklog = 256
	c.EnableKeepAlive = true
	c.KeepAliveInterval = 15 * time.Second
	c.ConnectionWriteTimeout = 30 * time.Second
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 0 // a slow reader may drain what the other side has closed
	for _, f := range tune {
		f(c)
	}
	return c
}
