package network

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of 4 bytes, as NFT_REG32_00 and following: concatenated keys lie
// in consecutive ones.
const (
	reg0 = unix.NFT_REG32_00 + iota
	reg1
	reg2
	reg3
	reg4
	reg5
	reg6
	reg7
	reg8
	reg9
)

// Of enum ip_conntrack_status.
const ctStatusDNAT = 1 << 5

// matches concatenates expressions into a rule's.
func matches(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// ifname pads an interface's name as the kernel compares it.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func iif(op expr.CmpOp, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0},
		&expr.Cmp{Op: op, Register: reg0, Data: ifname(name)},
	}
}

func oif(op expr.CmpOp, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg0},
		&expr.Cmp{Op: op, Register: reg0, Data: ifname(name)},
	}
}

// iifPrefix matches interfaces whose names begin so.
func iifPrefix(prefix string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte(prefix)},
	}
}

// Offsets in an IPv4 header.
const (
	ipSource      = 12
	ipDestination = 16
)

// inPrefix matches the address at an offset of the IP header.
func inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	return addressIs(expr.CmpOpEq, offset, p)
}

// addressIs is inPrefix, or with expr.CmpOpNeq its opposite.
func addressIs(op expr.CmpOp, offset uint32, p netip.Prefix) []expr.Any {
	network := p.Masked().Addr().AsSlice()
	size := uint32(len(network))
	return []expr.Any{
		&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: size, Mask: net.CIDRMask(p.Bits(), len(network)*8), Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: reg0, Data: network},
	}
}

func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: make([]byte, 4)},
	}
}

func ctState(bits uint32) []expr.Any { return ctBits(expr.CtKeySTATE, bits) }
func wasDNATed() []expr.Any          { return ctBits(expr.CtKeySTATUS, ctStatusDNAT) }

// toLocal matches destinations that are addresses of this host.
func toLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg0, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// toPort matches a transport protocol and its destination port.
func toPort(proto byte, port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{proto}},
		&expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}

// etherType matches the protocol of a frame.
func etherType(t uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg0},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binary.BigEndian.AppendUint16(nil, t)},
	}
}

func inSet(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg0, SetName: s.Name, SetID: s.ID}}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func accept() []expr.Any     { return verdict(expr.VerdictAccept) }
func drop() []expr.Any       { return verdict(expr.VerdictDrop) }
func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }
