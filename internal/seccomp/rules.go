package seccomp

import (
	"fmt"
	"maps"
	"slices"
	"sync"

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
// architecture has been checked already and the number is in the accumulator.
func compileArch(profile *specs.LinuxSeccomp, info *arch.Info, fallback uint32) ([]instruction, error) {
	mask := uint32(info.SeccompMask)     // in each number of x32
	leaves := map[uint32][]instruction{} // by system call; those without a condition end in a return
	for _, rule := range profile.Syscalls {
		value, err := action(rule.Action, rule.ErrnoRet)
		if err != nil {
			return nil, err
		}
		var code []instruction
		for _, args := range alternatives(rule.Args) {
			one, err := compileRule(args, value)
			if err != nil {
				return nil, fmt.Errorf("cannot compile the seccomp rule for %v: %w", rule.Names, err)
			}
			code = append(code, one...)
		}
		for _, name := range rule.Names {
			for _, n := range numbersOf()[info][name] {
				if nr := n | mask; !final(leaves[nr]) {
					leaves[nr] = append(slices.Clip(leaves[nr]), code...)
				}
			}
		}
	}
	numbers := make([]uint32, 0, len(leaves))
	for nr := range leaves {
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)

	otherwise := []instruction{ret(fallback)}
	spans := []span{{mask, otherwise}}
	add := func(first uint32, code []instruction) {
		if last := len(spans) - 1; spans[last].first == first {
			spans = spans[:last] // it was thought to end the one before
		}
		if n := len(spans); n == 0 || !slices.Equal(spans[n-1].code, code) {
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
	if len(numbers) > 0 && forbids(fallback) {
		add(numbers[len(numbers)-1]+1, []instruction{ret(retErrno | uint32(unix.ENOSYS))})
	}
	return search(spans), nil
}

// numbersOf holds the numbers that a name has on each architecture: x32 has two
// for some, its own and x86_64's.
var numbersOf = sync.OnceValue(func() map[*arch.Info]map[string][]uint32 {
	all := map[*arch.Info]map[string][]uint32{}
	for _, info := range append(slices.Collect(maps.Values(architectures)), arch.X32) {
		all[info] = map[string][]uint32{}
		for n, name := range info.SyscallNumbers {
			all[info][name] = append(all[info][name], uint32(n))
		}
	}
	return all
})

// alternatives splits a rule's conditions as libseccomp has it: all must hold,
// but when two look at one argument, each stands for a rule of its own.
func alternatives(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	used := map[uint]bool{}
	for _, a := range args {
		if used[a.Index] {
			var each [][]specs.LinuxSeccompArg
			for i := range args {
				each = append(each, args[i:i+1])
			}
			return each
		}
		used[a.Index] = true
	}
	return [][]specs.LinuxSeccompArg{args}
}

// forbids tells a fallback that keeps calls from happening.
func forbids(fallback uint32) bool { return fallback != retAllow && fallback != retLog }

// final reports whether code needs nothing behind it.
func final(code []instruction) bool {
	// What a failed condition jumps to is the instruction behind a return, so
	// only a return that nothing jumps over ends everything.
	n := len(code)
	return n > 0 && code[n-1].code == returnValue && (n == 1 || code[n-2].code == returnValue)
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
