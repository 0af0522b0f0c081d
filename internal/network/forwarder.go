package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// forwarder asks the host's resolvers what is not known here.
type forwarder struct {
	self    netip.Addr // never asked: it would be a loop
	timeout time.Duration
	port    uint16

	mu   sync.Mutex
	conf resolvConf
	read time.Time
}

func newForwarder(self netip.Addr) *forwarder {
	return &forwarder{self: self, timeout: 2500 * time.Millisecond, port: 53}
}

// servers returns the host's resolvers as its file names them now, or did a
// moment ago.
func (f *forwarder) servers() []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) > time.Second {
		f.conf, f.read = readResolvConf(), time.Now()
	}
	var list []netip.AddrPort
	for _, s := range f.conf.servers {
		if s != f.self {
			list = append(list, netip.AddrPortFrom(s, f.port))
		}
	}
	return list
}

// exchange relays a query and returns the first good answer, else the last
// one, or nil when nobody answered. The client's query goes out unchanged but
// for its ID.
func (f *forwarder) exchange(ctx context.Context, msg []byte, tcp bool) []byte {
	var last []byte
	for _, s := range f.servers() {
		resp, err := f.ask(ctx, s, msg, tcp)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			continue
		}
		code := dnsmessage.RCode(resp[3] & 15)
		if code != dnsmessage.RCodeServerFailure && code != dnsmessage.RCodeRefused {
			return resp
		}
		last = resp
	}
	return last
}

func (f *forwarder) ask(ctx context.Context, server netip.AddrPort, msg []byte, tcp bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	network := "udp"
	if tcp {
		network = "tcp"
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	// An ID of our own: a client's is no secret of ours.
	query := bytes.Clone(msg)
	id := uint16(rand.Uint32())
	binary.BigEndian.PutUint16(query, id)
	var resp []byte
	if tcp {
		resp, err = askTCP(c, query)
	} else {
		resp, err = askUDP(c, query)
	}
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(resp, binary.BigEndian.Uint16(msg))
	return resp, nil
}

func askTCP(c net.Conn, query []byte) ([]byte, error) {
	if err := writeTCP(c, query); err != nil {
		return nil, err
	}
	resp, err := readTCP(c)
	if err != nil {
		return nil, err
	}
	if !matchesQuery(resp, query) {
		return nil, errors.New("answer to another query")
	}
	return resp, nil
}

func askUDP(c net.Conn, query []byte) ([]byte, error) {
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 65535)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if matchesQuery(buf[:n], query) {
			return bytes.Clone(buf[:n]), nil
		}
	}
}

// matchesQuery tells whether resp answers query: same ID and, unless the
// server could not read it, same question.
func matchesQuery(resp, query []byte) bool {
	if len(resp) < hdrLen || resp[0] != query[0] || resp[1] != query[1] || resp[2]&0x80 == 0 {
		return false
	}
	var p, q dnsmessage.Parser
	if h, err := p.Start(resp); err != nil || h.RCode == dnsmessage.RCodeFormatError || h.RCode == dnsmessage.RCodeNotImplemented {
		return err == nil
	}
	if _, err := q.Start(query); err != nil {
		return false
	}
	a, err := p.Question()
	b, err2 := q.Question()
	return err == nil && err2 == nil && a.Type == b.Type && a.Class == b.Class &&
		bytes.EqualFold(a.Name.Data[:a.Name.Length], b.Name.Data[:b.Name.Length])
}

// readTCP and writeTCP frame messages as RFC 1035, section 4.2.2, does.
func readTCP(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeTCP(w io.Writer, msg []byte) error {
	if len(msg) > 65535 {
		return errors.New("message too long")
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}
