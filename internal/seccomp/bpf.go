package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// instruction is a struct sock_filter (linux/filter.h).
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Codes of classic BPF that a filter needs.
const (
	loadWord         = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	andWith          = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jumpAlways       = unix.BPF_JMP | unix.BPF_JA
	jumpEqual        = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpGreater      = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	jumpGreaterEqual = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	returnValue      = unix.BPF_RET | unix.BPF_K
)

func load(offset uint32) instruction { return instruction{code: loadWord, k: offset} }
func ret(value uint32) instruction   { return instruction{code: returnValue, k: value} }

// A rule's conditions jump here when they do not hold: behind the rule.
const fail = 0xff

// compileRule returns code that returns value when all conditions hold, and
// runs on behind itself when one does not.
func compileRule(args []specs.LinuxSeccompArg, value uint32) ([]instruction, error) {
	var code []instruction
	for _, a := range args {
		if a.Index > 5 {
			return nil, fmt.Errorf("argument %d does not exist: a system call has six, from 0", a.Index)
		}
		test, err := compileCondition(a)
		if err != nil {
			return nil, err
		}
		code = append(code, test...)
	}
	code = append(code, ret(value))
	if len(code) >= fail {
		return nil, fmt.Errorf("too many conditions: %d", len(args))
	}
	for i := range code {
		behind := uint8(len(code) - i - 1)
		if code[i].jt == fail {
			code[i].jt = behind
		}
		if code[i].jf == fail {
			code[i].jf = behind
		}
	}
	return code, nil
}

// compileCondition compares a 64-bit argument, half by half, as BPF has 32-bit
// words: it runs on behind itself when the condition holds, else it jumps to fail.
func compileCondition(a specs.LinuxSeccompArg) ([]instruction, error) {
	low := load(offsetArgs + 8*uint32(a.Index)) // little-endian
	high := load(offsetArgs + 8*uint32(a.Index) + 4)
	lo, hi := uint32(a.Value), uint32(a.Value>>32)
	switch a.Op {
	case specs.OpEqualTo:
		return []instruction{high, {code: jumpEqual, k: hi, jf: fail}, low, {code: jumpEqual, k: lo, jf: fail}}, nil
	case specs.OpNotEqual:
		return []instruction{high, {code: jumpEqual, k: hi, jf: 2}, low, {code: jumpEqual, k: lo, jt: fail}}, nil
	case specs.OpGreaterEqual:
		return []instruction{high, {code: jumpGreater, k: hi, jt: 3}, {code: jumpEqual, k: hi, jf: fail}, low, {code: jumpGreaterEqual, k: lo, jf: fail}}, nil
	case specs.OpGreaterThan:
		return []instruction{high, {code: jumpGreater, k: hi, jt: 3}, {code: jumpEqual, k: hi, jf: fail}, low, {code: jumpGreater, k: lo, jf: fail}}, nil
	case specs.OpLessThan:
		return []instruction{high, {code: jumpGreater, k: hi, jt: fail}, {code: jumpEqual, k: hi, jf: 2}, low, {code: jumpGreaterEqual, k: lo, jt: fail}}, nil
	case specs.OpLessEqual:
		return []instruction{high, {code: jumpGreater, k: hi, jt: fail}, {code: jumpEqual, k: hi, jf: 2}, low, {code: jumpGreater, k: lo, jt: fail}}, nil
	case specs.OpMaskedEqual: // Value is the mask, ValueTwo what is left of the argument
		return []instruction{
			high, {code: andWith, k: hi}, {code: jumpEqual, k: uint32(a.ValueTwo >> 32), jf: fail},
			low, {code: andWith, k: lo}, {code: jumpEqual, k: uint32(a.ValueTwo), jf: fail},
		}, nil
	}
	return nil, fmt.Errorf("the operator %q is not supported", a.Op)
}
