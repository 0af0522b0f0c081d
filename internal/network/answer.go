package network

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// ttl of what is known here, in seconds: short, because a container that
	// starts again may get another address.
	ttl = 5
	// plainUDP is the largest answer by UDP to a client without EDNS, in bytes
	// (RFC 1035), maxUDP the largest to one with it, and ednsUDP what is
	// announced for queries.
	plainUDP = 512
	maxUDP   = 4096
	ednsUDP  = 1232
	// hdrLen is the length of a message's header.
	hdrLen = 12
)

// question is what an answerer needs to know of a query.
type question struct {
	header dnsmessage.Header
	dnsmessage.Question
	edns    bool
	udpSize int // the largest answer that the client takes by UDP
}

// parseQuery reads a query. When it is not one that can be answered or
// forwarded, ok is false and the code says why; what has no header or is not a
// query at all gets no answer.
func parseQuery(msg []byte) (q question, code dnsmessage.RCode, answerable, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response {
		return q, 0, false, false
	}
	q = question{header: h, udpSize: plainUDP}
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true, false
	}
	qs, err := p.AllQuestions()
	if err != nil || len(qs) != 1 {
		return q, dnsmessage.RCodeFormatError, true, false
	}
	q.Question = qs[0]
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, true, false
	}
	for {
		rh, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return q, 0, true, true
		}
		if err != nil {
			return q, dnsmessage.RCodeFormatError, true, false
		}
		if rh.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.udpSize = min(max(int(rh.Class), plainUDP), maxUDP)
		}
		if p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, true, false
		}
	}
}

// answer handles a query of the container with the address from, with what is known here. When it returns nil and
// forward is true, somebody else has to be asked; when forward is false too,
// nothing is to be answered.
func (n *names) answer(from netip.Addr, msg []byte, subnet netip.Prefix) (resp []byte, q question, forward bool) {
	q, code, answerable, ok := parseQuery(msg)
	if !answerable {
		return nil, q, false
	}
	if !ok {
		return q.reply(code, nil), q, false
	}
	if q.Class != dnsmessage.ClassINET {
		return nil, q, true
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if a, ok := parseReverse(name); ok && (subnet.Contains(a) || n.subnet6.Contains(a)) {
		ptr := n.reverse(a)
		target, err := dnsmessage.NewName(ptr + ".")
		switch {
		case ptr == "" || err != nil:
			return q.reply(dnsmessage.RCodeNameError, nil), q, false
		case q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL:
			return q.reply(0, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: target}}), q, false
		}
		return q.reply(0, nil), q, false
	}
	addrs := n.lookup(from, name)
	if len(addrs) == 0 {
		return nil, q, true
	}
	var bodies []dnsmessage.ResourceBody
	for _, i := range rand.Perm(len(addrs)) {
		if len(bodies) == 16 {
			break
		}
		if b := addressBody(addrs[i], q.Type); b != nil {
			bodies = append(bodies, b)
		}
	}
	return q.reply(0, bodies), q, false
}

// addressBody is an address as a record of a type that was asked for, or nil.
func addressBody(a netip.Addr, t dnsmessage.Type) dnsmessage.ResourceBody {
	switch {
	case a.Is4() && (t == dnsmessage.TypeA || t == dnsmessage.TypeALL):
		return &dnsmessage.AResource{A: a.As4()}
	case a.Is6() && (t == dnsmessage.TypeAAAA || t == dnsmessage.TypeALL):
		return &dnsmessage.AAAAResource{AAAA: a.As16()}
	}
	return nil
}

// reply builds the answer to q.
func (q question) reply(code dnsmessage.RCode, bodies []dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RCode: code,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true,
	}}
	if q.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.Question}
	}
	for _, b := range bodies {
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: ttl}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: rh, Body: b})
	}
	if q.edns {
		var rh dnsmessage.ResourceHeader
		_ = rh.SetEDNS0(ednsUDP, 0, false) // fails for extended codes alone
		m.Additionals = []dnsmessage.Resource{{Header: rh, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil // a name that cannot be packed was not one that was parsed
	}
	return b
}

// truncated is the answer that makes a client ask again by TCP.
func (q question) truncated() []byte {
	b := q.reply(0, nil)
	if len(b) >= hdrLen {
		b[2] |= 2 // TC
	}
	return b
}

// parseReverse reads the address out of a name such as 2.0.18.172.in-addr.arpa.
func parseReverse(name string) (netip.Addr, bool) {
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa")
	if !ok {
		return parseReverse6(name)
	}
	labels := strings.Split(rest, ".")
	if len(labels) != 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, l := range labels {
		v, err := strconv.ParseUint(l, 10, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		b[3-i] = byte(v)
	}
	return netip.AddrFrom4(b), true
}
