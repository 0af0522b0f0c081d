package reach

import "golang.org/x/sys/unix"

// word is a value in the machine; what hangs on a call's arguments is not
// known.
type word struct {
	v     uint32
	known bool
}

// state is where the machine stands. Programs only jump forward.
type state struct {
	pc   int
	a, x word
	mem  [unix.BPF_MEMWORDS]word
}

// Offsets in struct seccomp_data (linux/seccomp.h); behind them are the address
// of the caller and the arguments.
const (
	offsetNumber = 0
	offsetArch   = 4
	sizeOfData   = 64
)

// step runs an instruction that neither jumps nor returns. It is false for one
// that the kernel would not have taken.
func (s *state) step(in unix.SockFilter, arch, number uint32) bool {
	switch in.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		switch in.K {
		case offsetNumber:
			s.a = word{number, true}
		case offsetArch:
			s.a = word{arch, true}
		default:
			s.a = word{}
		}
	case unix.BPF_LD | unix.BPF_W | unix.BPF_LEN:
		s.a = word{sizeOfData, true}
	case unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN:
		s.x = word{sizeOfData, true}
	case unix.BPF_LD | unix.BPF_IMM:
		s.a = word{in.K, true}
	case unix.BPF_LDX | unix.BPF_IMM:
		s.x = word{in.K, true}
	case unix.BPF_MISC | unix.BPF_TAX:
		s.x = s.a
	case unix.BPF_MISC | unix.BPF_TXA:
		s.a = s.x
	case unix.BPF_LD | unix.BPF_MEM, unix.BPF_LDX | unix.BPF_MEM, unix.BPF_ST, unix.BPF_STX:
		if in.K >= unix.BPF_MEMWORDS {
			return false
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_MEM:
			s.a = s.mem[in.K]
		case unix.BPF_LDX | unix.BPF_MEM:
			s.x = s.mem[in.K]
		case unix.BPF_ST:
			s.mem[in.K] = s.a
		case unix.BPF_STX:
			s.mem[in.K] = s.x
		}
	default:
		return in.Code&0x07 == unix.BPF_ALU && s.compute(in)
	}
	return true
}

// operand is what an instruction works with besides A.
func (s *state) operand(in unix.SockFilter) word {
	if in.Code&0x08 == unix.BPF_X {
		return s.x
	}
	return word{in.K, true}
}

func (s *state) compute(in unix.SockFilter) bool {
	a, b := s.a, s.operand(in)
	op := in.Code & 0xf0
	if op == unix.BPF_NEG {
		b = word{0, true}
	}
	if !a.known || !b.known {
		s.a = word{}
		return op <= unix.BPF_XOR
	}
	switch op {
	case unix.BPF_ADD:
		a.v += b.v
	case unix.BPF_SUB:
		a.v -= b.v
	case unix.BPF_MUL:
		a.v *= b.v
	case unix.BPF_DIV, unix.BPF_MOD:
		if b.v == 0 { // ends the program
			return false
		}
		if op == unix.BPF_DIV {
			a.v /= b.v
		} else {
			a.v %= b.v
		}
	case unix.BPF_OR:
		a.v |= b.v
	case unix.BPF_AND:
		a.v &= b.v
	case unix.BPF_XOR:
		a.v ^= b.v
	case unix.BPF_LSH:
		a.v <<= b.v & 31
	case unix.BPF_RSH:
		a.v >>= b.v & 31
	case unix.BPF_NEG:
		a.v = -a.v
	default:
		return false
	}
	s.a = a
	return true
}

// jump tells how many instructions are passed over: yes, or if it is not known
// whether the condition holds, yes or no.
func (s *state) jump(in unix.SockFilter) (yes, no int, known bool) {
	if in.Code&0xf0 == unix.BPF_JA {
		return int(in.K), 0, true
	}
	b := s.operand(in)
	if !s.a.known || !b.known {
		return int(in.Jt), int(in.Jf), in.Jt == in.Jf
	}
	holds := false
	switch in.Code & 0xf0 {
	case unix.BPF_JEQ:
		holds = s.a.v == b.v
	case unix.BPF_JGT:
		holds = s.a.v > b.v
	case unix.BPF_JGE:
		holds = s.a.v >= b.v
	case unix.BPF_JSET:
		holds = s.a.v&b.v != 0
	}
	if holds {
		return int(in.Jt), 0, true
	}
	return int(in.Jf), 0, true
}
