package seccomp

import (
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// span is a run of system call numbers, from first on, that end alike.
type span struct {
	first uint32
	code  []instruction
}

// compileArch returns the part of a program that is for one architecture; the
// architecture has been checked already.
func compileArch(profile *specs.LinuxSeccomp, info *arch.Info, fallback uint32) ([]instruction, error) {
	leaves := map[uint32][]instruction{} // by system call; those without a condition end in a return
	for _, rule := range profile.Syscalls {
		value, err := action(rule.Action, rule.ErrnoRet)
		if err != nil {
			return nil, err
		}
		code, err := compileRule(rule.Args, value)
		if err != nil {
			return nil, fmt.Errorf("cannot compile the seccomp rule for %v: %w", rule.Names, err)
		}
		for _, name := range rule.Names {
			if nr, ok := info.SyscallNames[name]; ok && !final(leaves[uint32(nr)]) {
				leaves[uint32(nr)] = append(slices.Clip(leaves[uint32(nr)]), code...)
			}
		}
	}
	numbers := make([]uint32, 0, len(leaves))
	for nr := range leaves {
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)

	section := []instruction{load(offsetNumber)}
	if info == arch.X86_64 {
		section = append(section, instruction{code: jumpGreaterEqual, k: x32Bit, jf: 1}, ret(retKillProcess))
	}
	otherwise := []instruction{ret(fallback)}
	spans := []span{{0, otherwise}}
	add := func(first uint32, code []instruction) {
		last := &spans[len(spans)-1]
		switch {
		case last.first == first:
			last.code = code
		case !slices.Equal(last.code, code):
			spans = append(spans, span{first, code})
		}
	}
	for _, nr := range numbers {
		code := leaves[nr]
		if !final(code) {
			code = append(slices.Clip(code), otherwise...)
		}
		add(nr, code)
		add(nr+1, otherwise)
	}
	if len(numbers) > 0 {
		add(numbers[len(numbers)-1]+1, []instruction{ret(retErrno | uint32(unix.ENOSYS))})
	}
	return append(section, search(spans)...), nil
}

// final reports whether code needs nothing behind it.
func final(code []instruction) bool {
	return len(code) == 1 && code[0].code == returnValue
}

// search returns a binary search over spans; the number is in the accumulator.
func search(spans []span) []instruction {
	if len(spans) == 1 {
		return spans[0].code
	}
	middle := len(spans) / 2
	low, high := search(spans[:middle]), search(spans[middle:])
	code := []instruction{{code: jumpGreaterEqual, k: spans[middle].first, jf: 1}, {code: jumpAlways, k: uint32(len(low))}}
	if len(low) < 256 {
		code = []instruction{{code: jumpGreaterEqual, k: spans[middle].first, jt: uint8(len(low))}}
	}
	code = append(code, low...)
	return append(code, high...)
}
